/** WebSocket framing for a client (RFC 6455 section 5). Pure but for the mask, which is passed in. */
import { GrowingBytes } from '../growing-bytes.ts';

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** Kubernetes' servers send at most 32 KiB a message; what claims more is no such server. */
const MAX_MESSAGE_BYTES = 1024 * 1024;
/** RFC 6455 section 5.5. */
const MAX_CONTROL_BYTES = 125;

/** The other side broke the protocol. */
export class WebSocketError extends Error {
  override readonly name = 'WebSocketError';
  readonly code = 'WebSocketProtocol';
}

/** One frame, final, masked as a client's must be. `mask`: 4 bytes that nobody can predict. */
export function encodeFrame(opcode: number, payload: Uint8Array, mask: Uint8Array): Uint8Array {
  const { length } = payload;
  const header = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const frame = Buffer.alloc(header + 4 + length);
  frame[0] = 0x80 | opcode;
  frame[1] = 0x80 | (header === 2 ? length : header === 4 ? 126 : 127);
  if (header === 4) frame.writeUInt16BE(length, 2);
  if (header === 10) frame.writeBigUInt64BE(BigInt(length), 2);
  frame.set(mask, header);
  const start = header + 4;
  for (let index = 0; index < length; index += 1) {
    frame[start + index] = (payload[index] ?? 0) ^ (mask[index & 3] ?? 0);
  }
  return frame;
}

/** A whole message, or a control frame. */
export interface Message {
  readonly opcode: number;
  readonly payload: Uint8Array;
}

interface Header {
  readonly final: boolean;
  readonly opcode: number;
  readonly start: number;
  readonly length: number;
}

/** Holds at most one message, and what arrived of the next frame. */
export class MessageReader {
  readonly #pending = new GrowingBytes();
  readonly #fragments = new GrowingBytes();
  #opcode: number | undefined;
  /** How much of it there must be before more is done with `#pending` than to add to it. */
  #needed = 0;

  /** The messages that `bytes` complete. Throws WebSocketError. */
  push(bytes: Uint8Array): readonly Message[] {
    this.#pending.append(bytes);
    if (this.#pending.length < this.#needed) return [];
    let rest = this.#pending.take();
    const messages: Message[] = [];
    this.#needed = 0;
    for (let header = readHeader(rest); header !== undefined; header = readHeader(rest)) {
      const end = header.start + header.length;
      if (this.#fragments.length + header.length > MAX_MESSAGE_BYTES)
        throw new WebSocketError('a message exceeds 1 MiB');
      if (rest.length < end) {
        this.#needed = end;
        break;
      }
      const message = this.#take(header, rest.subarray(header.start, end));
      rest = rest.subarray(end);
      if (message !== undefined) messages.push(message);
    }
    this.#pending.append(rest);
    return messages;
  }

  #take({ final, length, opcode }: Header, payload: Uint8Array): Message | undefined {
    if (opcode >= OPCODE.close) {
      if (!final || length > MAX_CONTROL_BYTES) throw new WebSocketError('a control frame is fragmented or too long');
      return { opcode, payload };
    }
    if ((opcode === OPCODE.continuation) !== (this.#opcode !== undefined)) {
      throw new WebSocketError('a fragment is out of order');
    }
    this.#opcode ??= opcode;
    this.#fragments.append(payload);
    if (!final) return undefined;
    // A copy: a message that waits for its reader keeps nothing else of what it was read with.
    const whole = { opcode: this.#opcode, payload: Buffer.from(this.#fragments.take()) };
    this.#opcode = undefined;
    return whole;
  }
}

const KNOWN: readonly number[] = Object.values(OPCODE);

function readHeader(bytes: Buffer): Header | undefined {
  if (bytes.length < 2) return undefined;
  const [first, second] = [bytes.readUInt8(0), bytes.readUInt8(1)];
  if ((first & 0x70) !== 0) throw new WebSocketError('a reserved bit is set, and no extension was agreed on');
  if (!KNOWN.includes(first & 0x0f)) throw new WebSocketError(`opcode ${first & 0x0f} is unknown`);
  if ((second & 0x80) !== 0) throw new WebSocketError('a frame of the server is masked');
  const short = second & 0x7f;
  const start = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (bytes.length < start) return undefined;
  const length = start === 2 ? short : start === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  return { final: (first & 0x80) !== 0, opcode: first & 0x0f, start, length };
}
