import t from 'tap';
import { AUTHORITY } from './cases/authority.ts';
import { attacks } from './runner.ts';

attacks(t, AUTHORITY);
