// Runs the firmware of an RP2040 on rp2040js, for rp2040js.py.
//
//     node rp2040_runner.mjs PACKAGE.JSON DEBUG CONSOLE UART NANOSECONDS
//
// PACKAGE.JSON lies beside the node_modules with rp2040js. DEBUG and CONSOLE are file descriptors
// of listening sockets. At DEBUG one debugger, as gdb does (see gdbstub.py), writes the flash and
// lets the core go; CONSOLE is UART 0 or 1, for one host at a time. An instruction takes
// NANOSECONDS of the emulated time, whatever it is: timers count instructions.
//
// rp2040js is the chip without its ROM, its faults and its reset; those are here.

import { createRequire } from 'node:module';
import net from 'node:net';

if (Number.parseInt(process.versions.node) < 18) {
  console.error(`Node.js 18 or newer is needed, this is ${process.version}`);
  process.exit(1);
}
const [packages, debugFd, consoleFd, uartIndex, nanoseconds] = process.argv.slice(2);
const { RP2040 } = createRequire(packages)('rp2040js');

const FLASH = 0x10000000;
const BOOT2_BYTES = 256;
const BOOT2_AT = 0x20041f00; // where the ROM runs it: RP2040 Datasheet 2.8.1.2
const HARD_FAULT = 3;
const SYST_CVR = 0x018;
const AIRCR = 0xd0c;
const AIRCR_RESET = 0x05fa0004;
const TURN = 20_000; // instructions between two looks at the sockets: a millisecond or two
const FEED = 200; // instructions between two looks at the UART's receive FIFO
const BACKLOG = 65_536; // bytes a host may be ahead of the firmware

class Fault extends Error {}
class Reset extends Error {}

let chip;
let asleep; // the core waits for an interrupt
let pc; // of the instruction under way
let faulting = false;

// A chip after power-on. What its predecessor had in its memories, it has.
function powerOn(before) {
  chip = new RP2040();
  if (before) {
    chip.flash.set(before.flash);
    chip.sram.set(before.sram);
  }
  asleep = false;
  // What rp2040js only complains of is a fault on the chip: an address where nothing is, one that
  // is not aligned, an instruction that there is not. A peripheral it lacks is not.
  const complain = (part, words) => {
    if ((part === 'RP2040' || part === 'CortexM0Core') && !faulting) throw new Fault(words);
  };
  chip.logger = { debug() {}, info() {}, warn: complain, error: complain };
  chip.onBreak = () => {
    throw new Fault('breakpoint or undefined instruction');
  };
  const { ppb } = chip;
  const write = ppb.writeUint32.bind(ppb);
  ppb.writeUint32 = (offset, value) => {
    if (offset === AIRCR) {
      if (value >>> 0 === AIRCR_RESET) throw new Reset();
    } else if (offset === SYST_CVR) {
      // The counter goes on from its reload value, without an interrupt (ARM DDI 0419 B3.3.1).
      ppb.systickTimer.set(ppb.systickReload);
      ppb.systickCountFlag = false;
    } else {
      write(offset, value);
    }
  };
  chip.uart[uartIndex].onByte = (byte) => outgoing.push(byte);
}

// What the chip's ROM does once it found boot stage 2 intact: run it from RAM.
function boot() {
  chip.sram.set(chip.flash.subarray(0, BOOT2_BYTES), BOOT2_AT - 0x20000000);
  chip.core.VTOR = 0;
  chip.core.SP = BOOT2_AT;
  chip.core.PC = BOOT2_AT;
}

// --- the core

function fault(cause) {
  const { core } = chip;
  if (core.IPSR === HARD_FAULT || core.IPSR === HARD_FAULT - 1) {
    console.error(`locked up at 0x${pc.toString(16)}, in a fault's handler: ${cause.message}`);
    process.exit(1);
  }
  core.PC = pc;
  faulting = true; // the handler is entered even if the stack is what is bad
  core.exceptionEntry(HARD_FAULT);
  faulting = false;
}

// Whether an interrupt ends the sleep; it is taken only if PRIMASK lets it (ARM DDI 0419 B1.5.17).
function wakes() {
  const { core } = chip;
  return (
    (core.pendingInterrupts & core.enabledInterrupts) !== 0 ||
    core.pendingSystick ||
    core.pendingPendSV ||
    core.pendingNMI
  );
}

function runFor(instructions) {
  const { core, clock } = chip;
  const step = Number(nanoseconds);
  for (let left = instructions; left > 0; left--) {
    if (asleep) {
      if (!wakes()) return;
      asleep = false;
      core.interruptsUpdated = true;
    }
    pc = core.PC;
    core.executeInstruction();
    clock.tick(step);
    // Kept here: rp2040js would wake into the handler, past PRIMASK, and sleep through an
    // interrupt that is pending already.
    asleep = core.waiting;
    core.waiting = false;
  }
}

// --- time and the sockets

let host = null; // who talks to the UART
const waiting = []; // who would like to
const incoming = []; // chunks from the host
let ahead = 0; // bytes in them
let outgoing = [];
let running = false;
let due = false; // a turn is about to come
let alarm = null; // what ends the core's sleep
let asleepSince = 0n;

function canFeed() {
  const uart = chip.uart[uartIndex];
  return incoming.length > 0 && uart.enabled && !uart.rxFIFO.full;
}

function feed() {
  while (canFeed()) {
    chip.uart[uartIndex].feedByte(incoming[0][0]);
    incoming[0] = incoming[0].subarray(1);
    if (incoming[0].length === 0) incoming.shift();
    if (--ahead === 0) host?.resume();
  }
}

function turn() {
  due = false;
  if (asleep) {
    // Time went on while the core slept, at most to what it would have woken for.
    const passed = Number(process.hrtime.bigint() - asleepSince);
    const { clock } = chip;
    clock.tick(clock.nextAlarm ? Math.min(passed, clock.nanosToNextAlarm) : passed);
  }
  for (let left = TURN; left > 0; left -= FEED) {
    feed();
    try {
      runFor(FEED);
    } catch (cause) {
      if (cause instanceof Reset) {
        powerOn(chip);
        boot();
      } else if (cause instanceof Fault) {
        fault(cause);
      } else {
        throw cause;
      }
    }
    if (isIdle()) break;
  }
  const written = outgoing.length === 0 || !host || host.write(Buffer.from(outgoing));
  outgoing = [];
  asleepSince = process.hrtime.bigint();
  if (!written) {
    host.once('drain', schedule); // a host that does not read stops the board, as with QEMU
  } else {
    schedule();
  }
}

function isIdle() {
  return asleep && !wakes() && !canFeed();
}

// Have the core go on, at once or when its sleep ends.
function schedule() {
  if (!running || due || host?.writableNeedDrain) return;
  clearTimeout(alarm);
  const { clock } = chip;
  if (!isIdle()) {
    due = true;
    setImmediate(turn);
  } else if (clock.nextAlarm) {
    alarm = setTimeout(elapse, clock.nanosToNextAlarm / 1e6);
  }
}

function elapse() {
  if (due) return;
  due = true;
  turn();
}

function serve(socket) {
  host = socket;
  socket.setNoDelay();
  socket.on('data', (chunk) => {
    incoming.push(chunk);
    ahead += chunk.length;
    if (ahead > BACKLOG) socket.pause();
    schedule();
  });
  socket.on('close', () => {
    host = null;
    if (waiting.length) serve(waiting.shift());
    schedule();
  });
  socket.resume();
}

net
  .createServer({ pauseOnConnect: true }, (socket) => {
    socket.on('error', () => {});
    if (host) waiting.push(socket);
    else serve(socket);
  })
  .listen({ fd: Number(consoleFd) });

// --- the debugger

// Returns the answer to a packet; an empty one says that it is not known.
function answer(packet) {
  const [, name, rest] = /^(M|m|D|qRcmd,)(.*)$/.exec(packet) ?? [];
  const [place, data] = (rest ?? '').split(':');
  const [address, count] = place.split(',').map((text) => Number.parseInt(text, 16));
  const start = address - FLASH;
  switch (name) {
    case 'M':
    case 'm':
      if (!(start >= 0 && start + count <= chip.flash.length)) return 'E01';
      if (name === 'm') return Buffer.from(chip.flash.subarray(start, start + count)).toString('hex');
      chip.flash.set(Buffer.from(data, 'hex'), start);
      return 'OK';
    case 'qRcmd,':
      if (Buffer.from(rest, 'hex').toString() !== 'system_reset') return '';
      powerOn(chip);
      boot();
      return 'OK';
    case 'D':
      running = true;
      schedule();
      return 'OK';
    default:
      return '';
  }
}

powerOn();
net
  .createServer((socket) => {
    let text = '';
    socket.setEncoding('latin1').setNoDelay();
    socket.on('error', () => {});
    socket.on('data', (more) => {
      text += more;
      for (let found; (found = /\$([^#]*)#../.exec(text)); ) {
        text = text.slice(found.index + found[0].length);
        const reply = answer(found[1]);
        const sum = [...reply].reduce((total, letter) => total + letter.charCodeAt(0), 0) & 0xff;
        socket.write(`+$${reply}#${sum.toString(16).padStart(2, '0')}`);
      }
    });
  })
  .listen({ fd: Number(debugFd) });
