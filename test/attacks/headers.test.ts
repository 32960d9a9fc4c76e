import t from 'tap';
import { HEADERS } from './cases/headers.ts';
import { attacks } from './runner.ts';

attacks(t, HEADERS);
