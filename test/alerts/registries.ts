/** Every metric that a dcred process serves, by its name as a query writes it. */
import type { Registry } from 'prom-client';
import { WebhookMetrics } from '../../src/admission/metrics.ts';
import { AgentMetrics } from '../../src/agent/metrics.ts';
import { OperatorMetrics } from '../../src/operator/metrics.ts';
import { SignerMetrics } from '../../src/signer/metrics.ts';

/** Names of samples: a histogram has `_bucket`, `_sum` and `_count`. */
export async function sampleNames(): Promise<ReadonlySet<string>> {
  const operator = new OperatorMetrics('0');
  operator.watchClockSkew(() => 0);
  operator.watchRefusals(() => []);
  operator.engine.collectProcessMetrics();
  const webhook = new WebhookMetrics('0');
  const signer = new SignerMetrics('0');
  const registries = [operator.registry, webhook.registry, signer.registry];
  return new Set([...(await Promise.all(registries.map(namesOf))).flat(), ...agentNames()]);
}

async function namesOf(registry: Registry): Promise<readonly string[]> {
  const metrics = await registry.getMetricsAsJSON();
  return metrics.flatMap(({ name, type }) =>
    // prom-client's own types say enum; its JSON says a word.
    String(type) === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  );
}

/** The agent writes a family only once it has a sample. */
function agentNames(): readonly string[] {
  const agent = new AgentMetrics('0', ['signal:HUP:nginx']);
  agent.mounted('/a', 1);
  agent.served(1);
  agent.reloaded('signal:HUP:nginx', 'ok', 1);
  return [...agent.render(true).matchAll(/^# TYPE (\w+)/gm)].map(([, name = '']) => name);
}
