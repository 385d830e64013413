// Loaded before a node server: the port HANDED_DOWN_PORT is the socket that was handed down as HANDED_DOWN_FD, and every
// other one is a free port of the loopback interface, whatever the server asks for.
const net = require("net");
const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function (port, ...rest) {
  const then = rest.filter((argument) => typeof argument === "function");
  const isHandedDown = port === Number(process.env.HANDED_DOWN_PORT);
  const where = isHandedDown ? { fd: Number(process.env.HANDED_DOWN_FD) } : { host: "127.0.0.1", port: 0 };
  return listen.call(this, where, ...then);
};
