// The field's most used worker doing what the daemon does: sqs-consumer, batches of ten, receive -> invoke -> delete.
//
// Several consumers in one process, since each polls only after its batch is done. Like the plain loop it builds
// Lambda's event and honours batchItemFailures, and does not filter.
import { parseArgs } from "node:util";
import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { SQSClient } from "@aws-sdk/client-sqs";
import { Consumer } from "sqs-consumer";

const { values: options } = parseArgs({
  options: {
    "sqs-endpoint": { type: "string" },
    "queue-url": { type: "string" },
    "queue-arn": { type: "string" },
    "lambda-endpoint": { type: "string" },
    function: { type: "string", default: "f" },
    url: { type: "string" },
    consumers: { type: "string", default: "10" },
  },
});

const region = "us-east-1";
const sqs = new SQSClient({ region, endpoint: options["sqs-endpoint"] });
const functions = new LambdaClient({ region, endpoint: options["lambda-endpoint"] });

function record(message) {
  const messageAttributes = {};
  for (const [name, value] of Object.entries(message.MessageAttributes ?? {})) {
    messageAttributes[name] = {
      stringValue: value.StringValue,
      stringListValues: [],
      binaryListValues: [],
      dataType: value.DataType,
    };
  }
  return {
    messageId: message.MessageId,
    receiptHandle: message.ReceiptHandle,
    body: message.Body,
    attributes: message.Attributes,
    messageAttributes,
    md5OfBody: message.MD5OfBody,
    eventSource: "aws:sqs",
    eventSourceARN: options["queue-arn"],
    awsRegion: region,
  };
}

async function invoke(event) {
  if (options.url) {
    const answer = await fetch(options.url, { method: "POST", body: event });
    return answer.json();
  }
  const answer = await functions.send(new InvokeCommand({ FunctionName: options.function, Payload: event }));
  return JSON.parse(answer.Payload.transformToString());
}

async function handleMessageBatch(messages) {
  const answer = await invoke(JSON.stringify({ Records: messages.map(record) }));
  const failed = new Set(answer.batchItemFailures.map((failure) => failure.itemIdentifier));
  return messages.filter((message) => !failed.has(message.MessageId));
}

const consumers = Array.from({ length: Number(options.consumers) }, () => {
  const consumer = Consumer.create({
    queueUrl: options["queue-url"],
    sqs,
    batchSize: 10,
    waitTimeSeconds: 20,
    messageSystemAttributeNames: ["All"],
    messageAttributeNames: ["All"],
    suppressFifoWarning: true,
    handleMessageBatch,
  });
  consumer.on("error", (error) => console.error(error));
  consumer.start();
  return consumer;
});

process.on("SIGTERM", () => {
  for (const consumer of consumers) consumer.stop({ abort: true });
  process.exit(0);
});
