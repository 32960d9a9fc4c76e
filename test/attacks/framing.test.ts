import t from 'tap';
import { FRAMING } from './cases/framing.ts';
import { attacks } from './runner.ts';

attacks(t, FRAMING);
