// Calls of k6, whose client is Go's: the contract by reflection, answers, and errors that say why.
import grpc from 'k6/net/grpc';
import { check } from 'k6';

const METHOD = 'instanter.v1.DecisionService/DecideOffers';
const client = new grpc.Client();
export const options = { vus: 4, iterations: 200 };

export default function () {
  if (__ITER === 0) client.connect(__ENV.TARGET, { plaintext: true, reflect: true });
  const customer = `customers/k6-${__VU}-${__ITER}`;
  const decided = client.invoke(METHOD, { customer, channel: 'web', placement: 'basket' });
  check(decided, {
    decided: (r) => r.status === grpc.StatusOK && r.message.offers[0].offer === 'offers/tea',
  });
  const refused = client.invoke(METHOD, { customer, channel: 'webb' });
  check(refused, {
    refused: (r) => r.status === grpc.StatusInvalidArgument && /'web'/.test(r.error.message),
  });
}

export function handleSummary(data) {
  const checks = data.root_group.checks.map((c) => [c.name, [c.passes, c.fails]]);
  return { stdout: JSON.stringify(Object.fromEntries(checks)) };
}
