// Hands each state of a turn to the conversation. A component of its own, so that a streamed chunk moves a
// small value through Gradio and not the whole conversation.

import { tell } from "./dom.js";

export function mount({ element, props, watch }) {
  element.hidden = true;
  watch("value", () => {
    if (props.value) tell("turn", props.value);
  });
}
