// A handler for Node.js, to copy: it greets the people whose names come as JSON in the messages of a queue.
//
// A message that is no JSON fails alone: the answer names it, and only this one comes again.

export const greet = async (event) => {
  const batchItemFailures = [];
  for (const record of event.Records) {
    try {
      console.log(`Hello, ${JSON.parse(record.body).name}`);
    } catch (error) {
      console.error(`message ${record.messageId}: ${error.message}`);
      batchItemFailures.push({ itemIdentifier: record.messageId });
    }
  }
  return { batchItemFailures };
};
