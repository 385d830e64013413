// Handlers as somebody would have written them for Lambda: nothing here knows of poller.

let invocations = 0;

export const count = async (event, context) => {
  invocations += 1;
  console.log("counting", invocations);
  return {
    invocations,
    records: event.Records.length,
    requestId: context.awsRequestId,
    arn: context.invokedFunctionArn,
    custom: context.clientContext.custom,
    hasTime: context.getRemainingTimeInMillis() > 5000,
  };
};

export const fail = async () => {
  throw new TypeError("no such user");
};

export const forever = async () => {
  await new Promise((resolve) => setTimeout(resolve, 60000));
};

export const exit = async () => {
  process.exit(5);
};

export const huge = async (event) => "x".repeat(event.size);
