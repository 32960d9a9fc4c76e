/**
 * Where the development Workload API may listen: a Unix socket of mode 0600 in a folder of mode
 * 0700, and nothing else. The folder is the only thing that keeps other users away, since this
 * server attests nobody; a TCP address is refused, loopback included.
 */
import { chmod, lstat, mkdir, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, isAbsolute } from 'node:path';
import { Fault } from '../base/fault.ts';

/** sun_path of Linux, less its final NUL. */
const MAX_PATH = 107;
const FOLDER_MODE = 0o700;
const SOCKET_MODE = 0o600;

/**
 * The absolute path of `/run/x.sock`, `unix:/run/x.sock` or `unix:///run/x.sock`. Throws a Fault
 * 'listen' for anything else.
 */
export function socketPath(text: string): string {
  const path = text.replace(/^unix:(?:\/\/)?(?=\/(?!\/))/, '');
  if (!isAbsolute(path) || path.endsWith('/')) {
    throw new Fault(
      'listen',
      `cannot serve the development Workload API on "${text}": it is not the path of a Unix socket`,
      {
        hint:
          'write an absolute path such as /tmp/chaperone/api.sock; it attests nobody, so it ' +
          'never listens on TCP',
      },
    );
  }
  if (Buffer.byteLength(path) > MAX_PATH) {
    throw new Fault(
      'listen',
      `cannot serve on ${path}: a socket path holds at most ${MAX_PATH} bytes`,
      {
        hint: 'choose a shorter folder',
      },
    );
  }
  return path;
}

/**
 * Makes the folder when it is not there, and the place free: a socket that nobody serves any more
 * is removed. Throws a Fault 'listen'.
 */
export async function prepareSocket(path: string): Promise<void> {
  await privateFolder(dirname(path));
  const found = await lstat(path).catch(onlyMissing);
  if (found === undefined) return;
  if (!found.isSocket())
    throw new Fault('listen', `cannot serve on ${path}: there is a file that is no socket`);
  if (await answers(path)) {
    throw new Fault('listen', `cannot serve on ${path}: another server is listening there`, {
      hint: 'stop it or choose another path',
    });
  }
  await unlink(path);
}

/** To be called as soon as the socket is bound; until then its folder alone guards it. */
export async function guardSocket(path: string): Promise<void> {
  await chmod(path, SOCKET_MODE);
}

export async function removeSocket(path: string): Promise<void> {
  await unlink(path).catch(onlyMissing);
}

async function privateFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
  const { mode, uid } = await lstat(folder);
  const open = (mode & 0o077) !== 0;
  if (!open && uid === process.getuid?.()) return;
  const problem = open
    ? `is open to others (mode ${(mode & 0o777).toString(8)})`
    : 'belongs to another user';
  throw new Fault('listen', `cannot serve in ${folder}: it ${problem}`, {
    hint: 'name a folder that does not exist yet, or one of your own with mode 0700',
  });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function onlyMissing(failure: unknown): undefined {
  if (failure instanceof Error && 'code' in failure && failure.code === 'ENOENT') return undefined;
  throw failure;
}
