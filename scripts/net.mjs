// Ports for shell scripts.
//   net.mjs free-port WANTED   prints WANTED if it is free on the loopback, else a free one
//   net.mjs wait-port PORT     ends with 0 once somebody listens there, with 1 after 20 s
import net from "node:net";
import { setTimeout as delay } from "node:timers/promises";

const [word, arg] = process.argv.slice(2);

function listens(port) {
  return new Promise((resolve) => {
    const s = net.connect(port, "127.0.0.1");
    s.once("connect", () => resolve(true)).once("error", () => resolve(false));
    s.once("close", () => resolve(false)).once("connect", () => s.destroy());
  });
}

function freePort(wanted) {
  return new Promise((resolve, reject) => {
    const s = net.createServer();
    s.once("error", (e) => (wanted ? resolve(freePort(0)) : reject(e)));
    s.listen(wanted, "127.0.0.1", () => {
      const { port } = s.address();
      s.close(() => resolve(port));
    });
  });
}

if (word === "free-port") {
  console.log(await freePort(Number(arg)));
} else if (word === "wait-port") {
  const end = Date.now() + 20_000;
  while (!(await listens(Number(arg)))) {
    if (Date.now() > end) process.exit(1);
    await delay(50);
  }
} else {
  console.error("usage: net.mjs free-port WANTED | wait-port PORT");
  process.exit(2);
}
