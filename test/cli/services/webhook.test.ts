import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { webhookCommand } from '../../../src/cli/services/webhook.ts';
import { runCommand } from '../run-command.ts';

describe('dcred webhook', () => {
  for (const [what, args, message] of [
    ['an address that is off', ['--bind-address=0'], /--bind-address: expected an address such as ":8443"; got "0"/],
    ['an address without a port', ['--bind-address=localhost'], /--bind-address: expected an address/],
    [
      'a host with a port',
      ['--host=example.org:8443'],
      /--host: expected a DNS name in lower case or an IP address, without port/,
    ],
    ['an invalid host', ['--host=127.0.0.1', '--host=a b'], /got "a b"/],
    ['an invalid delay', ['--shutdown-delay=soon'], /--shutdown-delay takes a duration/],
  ] as const) {
    test(`refuses ${what}, before anything is started`, async () => {
      await assert.rejects(runCommand(webhookCommand, [...args]), { code: 'Usage', message });
    });
  }
});
