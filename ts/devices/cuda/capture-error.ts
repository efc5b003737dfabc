/**
 * The error for calls that cannot be a part of a CUDA graph that somebody is capturing.
 *
 * @module
 */
import { DispatchLayoutError } from '../../errors/errors.ts';

const capturing = 'a CUDA graph is being captured on the current stream, and';
const others = 'Make this call before or after the capture.';
const remedyForLayouts =
  "In a capture, pass a DeviceTensor, out and invalidExperts: 'ignore', and no asyncFinish. Or make this call before or after the capture.";

/** The reasons by the names that the addon gives (`cuda/addon/capture.h`), each with what to do about it. */
const reasons: Readonly<Record<string, readonly [problem: string, remedy: string]>> = {
  ALLOCATION: [`${capturing} memory that is allocated now would belong to the graph`, others],
  COPY: [`${capturing} a copy between host and GPU cannot be a part of it`, others],
  HOST_ARRAYS: [`${capturing} a layout of host arrays cannot be a part of it`, remedyForLayouts],
  NEW_OUTPUTS: [`${capturing} the results of a layout in it need memory that outlives this call`, remedyForLayouts],
  STRICT: [`${capturing} nobody could be told of invalid ids when it is replayed`, remedyForLayouts],
  ASYNC_FINISH: [`${capturing} a layout in it must be finished before the graph is`, remedyForLayouts],
  WAIT: [`${capturing} the thread cannot wait for what has not run yet`, 'Wait after the graph was replayed.'],
  CAPTURED_EVENT: [
    'the event is a point in a CUDA graph, for which only streams of the same capture can wait',
    'Record another event behind the replay of the graph, and wait for that one.',
  ],
  EARLIER_EVENT: [
    `${capturing} the event was recorded before`,
    'Wait for the event before the capture begins, or record it on a stream of the capture.',
  ],
  OTHER_CAPTURE: [
    "the group's communication stream is a part of a CUDA graph that is being captured on another stream",
    'Use another group, or make this call after that capture.',
  ],
  SPOILT: [
    'the CUDA graph that is being captured on the current stream was spoilt by an earlier call',
    'End the capture, which reports that, and capture the graph again.',
  ],
  LAST_STREAM: [
    "a CUDA graph is being captured, and the group's last layout ran on the captured stream, or on CUDA's default stream, for which nothing can wait now",
    'Use another group, or make this call after the capture.',
  ],
  LEGACY_STREAM: [
    "a CUDA graph is being captured, and this call uses CUDA's default stream, which waits for the captured one",
    'Make this call on a stream of its own (new Stream().run(…)), or after the capture.',
  ],
};

/** @param reason a name of the table above. */
export function captureError(reason: string): DispatchLayoutError {
  const [problem, remedy] = reasons[reason];
  return new DispatchLayoutError('CAPTURE', problem, { remedy });
}
