// Loaded before the emulator, which would listen on every interface, at ports that it is told.
// The one at $HANDED_DOWN_PORT listens on the socket that was handed down as $HANDED_DOWN_FD, any other on a free loopback port.
const { Server } = require("node:net");
const { listen } = Server.prototype;
const { HANDED_DOWN_PORT, HANDED_DOWN_FD } = process.env;

Server.prototype.listen = function listenOnLoopback(port, ...others) {
  const isHandedDown = String(port) === HANDED_DOWN_PORT;
  const place = isHandedDown ? { fd: Number(HANDED_DOWN_FD) } : { host: "127.0.0.1", port: 0 };
  return listen.call(this, place, ...others.filter((other) => typeof other === "function"));
};
