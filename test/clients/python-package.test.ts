/**
 * The Python client is built and installed where no index can be asked: by pip in an isolated
 * build.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';
import { missing } from '../interop/clients.ts';

t.setTimeout(240_000);

const FOLDER = resolve(import.meta.dirname, '../../clients/python');
const skip = missing(['python3', '-m', 'pip', '--version']);

/** What pip and what it starts see of the world. */
const env = {
  PATH: process.env['PATH'] ?? '',
  PIP_NO_INDEX: '1',
  PIP_CONFIG_FILE: '/dev/null',
  PIP_DISABLE_PIP_VERSION_CHECK: '1',
  PYTHONDONTWRITEBYTECODE: '1',
};
const python = (...args: readonly string[]): string =>
  execFileSync('python3', args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

t.test(
  'the wheel is built in isolation without an index, and what it installs is whole',
  { skip },
  async (t) => {
    const built = t.testdir();
    python('-m', 'pip', 'wheel', '--quiet', '--wheel-dir', built, FOLDER);
    const [wheel = ''] = readdirSync(built);
    t.match(wheel, /^chaperone_client-\d+\.\d+\.\d+-py3-none-any\.whl$/);
    const target = join(built, 'target');
    python('-m', 'pip', 'install', '--quiet', '--target', target, join(built, wheel));
    const sources = readdirSync(join(FOLDER, 'chaperone_client')).filter((name) =>
      /\.(?:py|typed)$/.test(name),
    );
    t.ok(sources.length > 5);
    for (const name of sources)
      t.equal(
        readFileSync(join(target, 'chaperone_client', name), 'utf8'),
        readFileSync(join(FOLDER, 'chaperone_client', name), 'utf8'),
        name,
      );
    const said = `
import sys; sys.path.insert(0, ${JSON.stringify(target)})
from importlib.metadata import metadata
import chaperone_client
told = metadata("chaperone-client")
print(chaperone_client.__file__, told["Requires-Python"], told.get_all("Provides-Extra"), told.get_all("Requires-Dist"))
`;
    t.match(
      python('-c', said),
      new RegExp(
        `^${target}/.* >=3\\.10 \\['requests', 'httpx'\\] .*httpx>=0\\.27; extra == "httpx"`,
      ),
    );
  },
);

t.test(
  'the same sources are the same wheel, and the archive of sources builds it too',
  { skip },
  async (t) => {
    const script = `
import hashlib, os, sys, tarfile
sys.path.insert(0, "build_backend")
import offline
first = offline.build_wheel(sys.argv[1])
tarfile.open(os.path.join(sys.argv[1], offline.build_sdist(sys.argv[1]))).extractall(sys.argv[1])
digest = lambda path: hashlib.sha256(open(path, "rb").read()).hexdigest()
print(digest(os.path.join(sys.argv[1], first)))
`;
    const folder = t.testdir();
    const options = { cwd: FOLDER, env, encoding: 'utf8' } as const;
    const digest = execFileSync('python3', ['-c', script, folder], options).trim();
    const [unpacked = ''] = readdirSync(folder).filter((name) => !/\.(?:whl|gz)$/.test(name));
    const again = join(folder, 'again');
    python('-m', 'pip', 'wheel', '--quiet', '--wheel-dir', again, join(folder, unpacked));
    const check =
      `import hashlib, glob; print(hashlib.sha256(open(glob.glob(${JSON.stringify(again)} + ` +
      '"/*.whl")[0], "rb").read()).hexdigest())';
    t.equal(python('-c', check).trim(), digest);
  },
);
