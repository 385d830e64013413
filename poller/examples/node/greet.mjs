// A handler for Node.js, to copy. Each message of the queue has a name as JSON; the handler greets this person.
//
// If a message is no JSON, the answer names it, and only this message comes again.

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
