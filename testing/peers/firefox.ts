import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensurePackages } from '../support/debian.ts';
import { type Component, Guardian } from '../support/guardian.ts';
import { eventually, run } from '../support/processes.ts';
import { Marionette } from './marionette.ts';

/** What Firefox reports about the connection of its page. */
export interface PageSecurity {
  readonly isDelegatedCredential: boolean;
  readonly protocol: string;
  /** SHA-256 of the leaf, upper-case hex with colons. */
  readonly certificate: string;
  readonly text: string;
}

export interface FirefoxOptions {
  /** The CA that it trusts besides its own, PEM. */
  readonly authority: string;
  /** The IPv4 address to which every name resolves. */
  readonly address: string;
}

const START_TIMEOUT_MS = 600_000;
/** Of a page, and of a script in it. */
const WEBDRIVER_TIMEOUT_MS = 300_000;

/** Nothing but the page may reach the server: no search for updates, captive portals, or news. */
const SETTINGS: Readonly<Record<string, unknown>> = {
  'marionette.port': 0,
  'app.update.disabledForTesting': true,
  'browser.safebrowsing.malware.enabled': false,
  'browser.safebrowsing.phishing.enabled': false,
  'browser.shell.checkDefaultBrowser': false,
  'browser.startup.homepage_override.mstone': 'ignore',
  'browser.startup.page': 0,
  'devtools.toolbox.footer.height': 420,
  'datareporting.healthreport.uploadEnabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'extensions.update.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'network.http.speculative-parallel-limit': 0,
  'network.prefetch-next': false,
  'network.proxy.type': 0,
  'security.OCSP.enabled': 0,
  'services.settings.server': 'data:,',
  'toolkit.telemetry.server': '',
  'toolkit.telemetry.unified': false,
};

/** Why there is no Firefox, as node:test's `skip` wants it; it is installed first. With CI=true that is an error. */
export async function whyNoFirefox(): Promise<string | false> {
  const reason = await ensurePackages({
    needs: ['firefox-esr', 'certutil'],
    packages: ['firefox-esr', 'libnss3-tools'],
  });
  if (reason !== undefined && process.env['CI'] === 'true') throw new Error(`in CI Firefox must be there: ${reason}`);
  return reason ?? false;
}

/**
 * A Firefox without a window, with its own profile: start a new one for every check, because a resumed session carries no certificate. It
 * ends, and its profile is removed, on disposal or when this process ends.
 */
export async function startFirefox(options: FirefoxOptions): Promise<Firefox> {
  const guardian = await Guardian.start('firefox');
  try {
    const profile = await writeProfile(guardian.directory, options);
    const component = guardian.startComponent({
      name: 'firefox',
      binary: 'env',
      args: [
        `HOME=${guardian.directory}`,
        'MOZ_CRASHREPORTER_DISABLE=1',
        'firefox-esr',
        '--headless',
        '--no-remote',
        '--marionette',
        '--remote-allow-system-access',
        '--profile',
        profile,
      ],
    });
    const client = await Marionette.connect(await portOf(component, profile));
    const timeouts = { pageLoad: WEBDRIVER_TIMEOUT_MS, script: WEBDRIVER_TIMEOUT_MS };
    await client.send('WebDriver:NewSession', {
      capabilities: { alwaysMatch: { acceptInsecureCerts: false, timeouts } },
    });
    return new Firefox(guardian, client);
  } catch (error) {
    await guardian.stop();
    throw error;
  }
}

export class Firefox {
  readonly #guardian: Guardian;
  readonly #client: Marionette;

  constructor(guardian: Guardian, client: Marionette) {
    this.#guardian = guardian;
    this.#client = client;
  }

  /** Loads a page. Rejects with MarionetteError where Firefox shows an error page in its place. */
  async visit(url: string): Promise<PageSecurity> {
    await this.#context('content');
    await this.#client.send('WebDriver:Navigate', { url });
    const text = await this.#script('return document.body.innerText');
    await this.#context('chrome');
    const answer = await this.#script(`
      const { secInfo } = gBrowser.selectedBrowser.securityUI;
      return {
        isDelegatedCredential: secInfo.isDelegatedCredential,
        protocol: ['SSL 3', 'TLS 1.0', 'TLS 1.1', 'TLS 1.2', 'TLS 1.3'][secInfo.protocolVersion],
        certificate: secInfo.serverCert.sha256Fingerprint,
      };`);
    return { ...(answer as Omit<PageSecurity, 'text'>), text: String(text).trim() };
  }

  /**
   * Loads the page again with Firefox's developer tools open, and gives what their Network panel shows under "Security". It stays open, for a screenshot.
   */
  async securityPanel(): Promise<string> {
    await this.#context('chrome');
    await this.#client.send('WebDriver:SetWindowRect', { width: 1_100, height: 640 });
    const { value } = (await this.#client.send('WebDriver:ExecuteAsyncScript', {
      script: SECURITY_PANEL,
      args: [],
    })) as { value: { readonly text?: string; readonly problem?: string } };
    if (value.text === undefined) throw new Error(`Firefox's Network panel: ${value.problem ?? 'no answer'}`);
    return value.text;
  }

  /** Firefox's whole window as a PNG file, the address and the padlock too. */
  async screenshot(path: string): Promise<void> {
    await this.#context('chrome');
    const { value } = (await this.#client.send('WebDriver:TakeScreenshot', { full: false })) as { value: string };
    await writeFile(path, Buffer.from(value, 'base64'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.close();
    await this.#guardian.stop();
  }

  #context(value: 'chrome' | 'content'): Promise<unknown> {
    return this.#client.send('Marionette:SetContext', { value });
  }

  async #script(script: string): Promise<unknown> {
    const answer = (await this.#client.send('WebDriver:ExecuteScript', { script, args: [] })) as { value: unknown };
    return answer.value;
  }
}

/** Source: Firefox, `devtools/client/netmonitor` (the panel's own store and actions). */
const SECURITY_PANEL = `
  const done = arguments[arguments.length - 1];
  const until = async (what, probe) => {
    for (let attempt = 0; attempt < 4_000; attempt += 1) {
      const found = probe();
      if (found) return found;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error('no ' + what);
  };
  (async () => {
    const { require } = ChromeUtils.importESModule('resource://devtools/shared/loader/Loader.sys.mjs');
    const { gDevTools } = require('devtools/client/framework/devtools');
    const toolbox = await gDevTools.showToolboxForTab(gBrowser.selectedTab, { toolId: 'netmonitor' });
    const { document, store, windowRequire } = toolbox.getCurrentPanel().panelWin;
    const actions = windowRequire('devtools/client/netmonitor/src/actions/index');
    gBrowser.selectedBrowser.reload();
    await until('request', () => store.getState().requests.requests.find(({ status }) => status));
    store.dispatch(actions.selectRequestByIndex(0));
    store.dispatch(actions.selectDetailsPanelTab('security'));
    const rows = await until('security panel', () => {
      const found = [...document.querySelectorAll('#security-panel .treeRow')];
      return found.length > 10 && found;
    });
    return rows.map((row) => row.textContent).join('\\n');
  })().then((text) => done({ text }), (error) => done({ problem: String(error) }));`;

async function writeProfile(directory: string, { address, authority }: FirefoxOptions): Promise<string> {
  const profile = join(directory, 'profile');
  await mkdir(profile);
  const settings = Object.entries({ ...SETTINGS, 'network.dns.forceResolve': address });
  const lines = settings.map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});`);
  await writeFile(join(profile, 'user.js'), `${lines.join('\n')}\n`);
  const certificate = join(directory, 'ca.crt');
  await writeFile(certificate, authority);
  await run('certutil', ['-N', '-d', `sql:${profile}`, '--empty-password']);
  await run('certutil', ['-A', '-d', `sql:${profile}`, '-n', 'ca', '-t', 'C,,', '-i', certificate]);
  return profile;
}

/** It takes a free port and writes it down once it listens. */
function portOf(component: Component, profile: string): Promise<number> {
  const written = join(profile, 'MarionetteActivePort');
  const look = async () => {
    if (component.hasExited) throw new Error(`Firefox ended: ${await component.logTail()}`);
    const text = await readFile(written, 'utf8').catch(() => '');
    return /^\d+$/.test(text.trim()) ? Number(text) : undefined;
  };
  return eventually('Firefox listens', look, { timeoutMs: START_TIMEOUT_MS });
}
