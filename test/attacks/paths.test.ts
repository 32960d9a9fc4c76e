import t from 'tap';
import { PATHS } from './cases/paths.ts';
import { attacks } from './runner.ts';

attacks(t, PATHS);
