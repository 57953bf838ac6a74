/** Every command of `dcred`, in the order of its help. */
import { agentCommand } from './agent.ts';
import { auditCommand } from './audit.ts';
import { bundleCommand } from './bundle.ts';
import { checkCommand } from './check.ts';
import type { Command } from './command.ts';
import { completionCommand } from './completion.ts';
import { crdCommand } from './crd.ts';
import { csrCommand } from './csr.ts';
import { devCaCommand } from './dev-ca.ts';
import { eventsCommand } from './events.ts';
import { inspectCommand } from './inspect.ts';
import { issueCommand } from './issue.ts';
import { issuerCommand } from './issuer.ts';
import { operatorCommand } from './operator.ts';
import { probeCommand } from './probe.ts';
import { renewCommand } from './renew.ts';
import { signerCommand } from './signer.ts';
import { statusCommand } from './status.ts';
import { resumeCommand, suspendCommand } from './suspend.ts';
import { verifyCommand } from './verify.ts';
import { versionCommand } from './version.ts';
import { webhookCommand } from './webhook.ts';

export const COMMANDS: readonly Command[] = [
  operatorCommand,
  webhookCommand,
  signerCommand,
  issuerCommand,
  agentCommand,
  checkCommand,
  statusCommand,
  eventsCommand,
  bundleCommand,
  renewCommand,
  suspendCommand,
  resumeCommand,
  issueCommand,
  verifyCommand,
  inspectCommand,
  probeCommand,
  auditCommand,
  csrCommand,
  devCaCommand,
  crdCommand,
  completionCommand,
  versionCommand,
];
