// Calls of an unmodified grpc-js client: answers, a rich error, a deadline, a cancellation, streams.
const grpc = require("@grpc/grpc-js");

const [target, name] = process.argv.slice(-2);
const client = new grpc.Client(target, grpc.credentials.createInsecure());
const encode = (text) => Buffer.concat([Buffer.from([10, text.length]), Buffer.from(text)]);

function call(method, text, options = {}) {
  return new Promise((resolve) => {
    const pending = client.makeUnaryRequest(
      `/${name}/${method}`, (raw) => raw, (raw) => raw, encode(text),
      new grpc.Metadata(), { deadline: Date.now() + 20000, ...options },
      (error, answer) => resolve(error || answer),
    );
    if (options.cancelled) setTimeout(() => pending.cancel(), 50);
  });
}

// Read a stream; `slow` lets it wait now and then, `enough` cancels it behind so many responses.
function read(text, { slow = false, enough = Infinity } = {}) {
  return new Promise((resolve) => {
    const stream = client.makeServerStreamRequest(
      `/${name}/Tell`, (raw) => raw, (raw) => raw, encode(text),
      new grpc.Metadata(), { deadline: Date.now() + 20000 },
    );
    let count = 0, ordered = true;
    stream.on("data", (raw) => {
      ordered = ordered && raw.subarray(2).toString().startsWith(`${count}`);
      count += 1;
      if (count === enough) stream.cancel();
      if (slow && count % 100 === 0) {
        stream.pause();
        setTimeout(() => stream.resume(), 5);
      }
    });
    let status = null;
    stream.on("status", (ended) => { status = ended; });
    stream.on("error", () => {});
    stream.on("close", () => resolve({ count, ordered, code: status.code, details: status.details }));
  });
}

(async () => {
  const texts = Array.from({ length: 200 }, (_, i) => `call ${i}`);
  const answers = await Promise.all(texts.map((text) => call("Say", text)));
  const right = answers.filter((answer, i) => encode(texts[i]).equals(answer)).length;
  const missing = await call("Say", "missing");
  const late = await call("Hold", "x", { deadline: Date.now() + 50 });
  const cancelled = await call("Hold", "x", { cancelled: true });
  const streams = [
    await read("count 2000", { slow: true }), await read("fail 7"), await read("missing"),
  ];
  const left = await read("count 99999999", { enough: 10 });
  console.log(JSON.stringify({
    answers: right, code: missing.code, details: missing.details, late: late.code,
    cancelled: cancelled.code, streams, left: left.code,
  }));
  client.close();
})();
