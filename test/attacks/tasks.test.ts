import t from 'tap';
import { TASKS } from './cases/tasks.ts';
import { attacks } from './runner.ts';

attacks(t, TASKS);
