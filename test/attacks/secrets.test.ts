import t from 'tap';
import { SECRETS } from './cases/secrets.ts';
import { attacks } from './runner.ts';

attacks(t, SECRETS);
