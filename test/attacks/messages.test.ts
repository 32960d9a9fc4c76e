import t from 'tap';
import { MESSAGES } from './cases/messages.ts';
import { attacks } from './runner.ts';

attacks(t, MESSAGES);
