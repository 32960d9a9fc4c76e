import t from 'tap';
import { ADDRESSES } from './cases/addresses.ts';
import { attacks } from './runner.ts';

attacks(t, ADDRESSES);
