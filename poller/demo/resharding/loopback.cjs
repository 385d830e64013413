// Node.js loads this file before the emulator, which by itself listens on every interface.
// This file gives the emulator's listener for $HANDED_DOWN_PORT the socket with the descriptor $HANDED_DOWN_FD.
// Any other listener gets a free loopback port.
const { Server } = require("node:net");
const { listen } = Server.prototype;
const { HANDED_DOWN_PORT, HANDED_DOWN_FD } = process.env;

Server.prototype.listen = function listenOnLoopback(port, ...others) {
  const isHandedDown = String(port) === HANDED_DOWN_PORT;
  const place = isHandedDown ? { fd: Number(HANDED_DOWN_FD) } : { host: "127.0.0.1", port: 0 };
  return listen.call(this, place, ...others.filter((other) => typeof other === "function"));
};
