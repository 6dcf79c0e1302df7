// Between Gradio and our panels. Gradio copies the whole value of every component with each event that arrives (measured:
// 30 ms a streamed chunk below 100 messages), so a value is taken out as it comes and only a stub is left behind.

/** Mount `module`, whose mount() gets {element, trigger, props, watch} as if from Gradio. */
export function mountPanel(module, { element, trigger, props, watch }) {
  const held = { value: null };
  const listeners = [];
  function take() {
    const value = props.value;
    if (!value || value.taken) return false;
    held.value = value;
    props.value = { taken: true };
    return true;
  }
  take();
  module.mount({ element, trigger, props: held, watch: (_, listener) => listeners.push(listener) });
  watch("value", () => {
    if (take()) for (const listener of listeners) listener();
  });
}
