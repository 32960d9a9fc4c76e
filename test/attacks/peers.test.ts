import t from 'tap';
import { PEERS } from './cases/peers.ts';
import { attacks } from './runner.ts';

attacks(t, PEERS);
