// Calls of an unmodified grpc-js client: answers, a rich error, a deadline, a cancellation.
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

(async () => {
  const texts = Array.from({ length: 200 }, (_, i) => `call ${i}`);
  const answers = await Promise.all(texts.map((text) => call("Say", text)));
  const right = answers.filter((answer, i) => encode(texts[i]).equals(answer)).length;
  const missing = await call("Say", "missing");
  const late = await call("Hold", "x", { deadline: Date.now() + 50 });
  const cancelled = await call("Hold", "x", { cancelled: true });
  console.log(JSON.stringify({
    answers: right, code: missing.code, details: missing.details, late: late.code,
    cancelled: cancelled.code,
  }));
  client.close();
})();
