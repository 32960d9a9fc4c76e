/**
 * Temporary folders whose paths are short enough for Unix sockets (107 bytes), unlike those of
 * `t.testdir()`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A new folder of mode 0700, removed at teardown of the test. */
export function shortFolder(t: { teardown(act: () => unknown): void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'chap-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
