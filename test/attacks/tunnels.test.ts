import t from 'tap';
import { TUNNELS } from './cases/tunnels.ts';
import { attacks } from './runner.ts';

attacks(t, TUNNELS);
