// What the server knows, asked again and again while somebody looks.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { isConnectionLost } from "./api.js";

const RETRY_MS = 2000;

/**
 * The answer of `ask(signal)`, anew whenever `given` changes and every `every` milliseconds (a
 * number, or what a function makes of the answer; null for once). What was there stays until the
 * next answer is, so nothing jumps; and while the server is away it is asked until it is back.
 */
export function useLive(ask, given = [], every = null) {
  const [state, setState] = useState({ data: null, error: null, loading: true });
  const newest = useRef(ask);
  newest.current = ask;
  const interval = useRef(every);
  interval.current = every;
  const [turn, setTurn] = useState(0);

  useEffect(() => {
    const controller = new AbortController();
    let timer = null;
    async function round() {
      let data = null;
      try {
        data = await newest.current(controller.signal);
        if (!controller.signal.aborted) setState({ data, error: null, loading: false });
      } catch (error) {
        if (controller.signal.aborted) return;
        setState((before) => ({ ...before, error, loading: false }));
      }
      const { current } = interval;
      const wait = isConnectionLost()
        ? RETRY_MS
        : typeof current === "function" ? current(data) : current;
      if (wait !== null && !controller.signal.aborted) timer = setTimeout(whenSeen, wait);
    }
    function whenSeen() {
      if (!document.hidden) return round();
      document.addEventListener("visibilitychange", round, {
        once: true,
        signal: controller.signal,
      });
    }
    round();
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [...given, turn]);

  const refresh = useCallback(() => setTurn((before) => before + 1), []);
  return { ...state, refresh };
}

/** A value that follows another one once it has been quiet for a moment. */
export function useSettled(value, ms = 250) {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return settled;
}

/** Run an action of a button: `busy` while it runs, and its error in words. */
export function useAction(act) {
  const [state, setState] = useState({ busy: false, error: null });
  async function run(...given) {
    setState({ busy: true, error: null });
    try {
      await act(...given);
      setState({ busy: false, error: null });
    } catch (error) {
      setState({ busy: false, error: error.name === "AbortError" ? null : error });
    }
  }
  return [run, state];
}
