// A real queue for the benchmark: fauxqs, on the loopback interface alone. Prints its port, lives until its input ends.
//
// Runs from the folder that the packages are in. A store without a host of its own gives queue urls at the address
// that was called, in place of one under `localhost` that not every client can resolve.
import { buildApp } from "fauxqs";
import { SqsStore } from "./node_modules/fauxqs/dist/sqs/sqsStore.js";

const sqsStore = new SqsStore();
sqsStore.host = "";
const app = buildApp({ logger: false, stores: { sqsStore } });
const address = await app.listen({ host: "127.0.0.1", port: 0 });
console.log(new URL(address).port);
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
