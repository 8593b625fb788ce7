"""Chat templates in the manner of well-known families, with the tiny tokenizer's tokens."""

# Tools in the system message, calls in tags, a thinking block in front of a last answer.
QWEN = """
{%- if tools %}
  {{- '<|system|>\n' }}
  {%- if messages[0].role == 'system' %}{{- messages[0].content + '\n\n' }}{%- endif %}
  {%- for tool in tools %}{{- tool | tojson + '\n' }}{%- endfor %}
  {{- '<|end|>\n' }}
{%- elif messages[0].role == 'system' %}
  {{- '<|system|>\n' + messages[0].content + '<|end|>\n' }}
{%- endif %}
{%- for message in messages %}
  {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
    {{- '<|' + message.role + '|>\n' + message.content + '<|end|>\n' }}
  {%- elif message.role == 'assistant' %}
    {{- '<|assistant|>\n' }}
    {%- if loop.last %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}
    {{- message.content }}
    {%- for call in message.tool_calls or [] %}
      {%- if message.content or not loop.first %}{{- '\n' }}{%- endif %}
      {{- '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}
      {{- (call.function.arguments | tojson) + '}\n</tool_call>' }}
    {%- endfor %}
    {{- '<|end|>\n' }}
  {%- elif message.role == 'tool' %}
    {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|user|>' }}{%- endif %}
    {{- '\n<tool_response>\n' + message.content + '\n</tool_response>' }}
    {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|end|>\n' }}{%- endif %}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\n' }}{%- endif %}
"""
# One call at a time, as plain JSON; content is trimmed.
LLAMA = """
{%- if tools %}{{- '<|system|>\n' + (tools | tojson) + '<|end|>' }}{%- endif %}
{%- for message in messages %}
  {%- if message.tool_calls %}
    {%- if message.tool_calls | length > 1 %}{{- raise_exception('one call') }}{%- endif %}
    {%- set call = message.tool_calls[0].function %}
    {{- '<|assistant|>\n{"name": "' + call.name + '", "parameters": ' }}
    {{- (call.arguments | tojson) + '}<|end|>' }}
  {%- elif message.role == 'tool' %}
    {{- '<|tool|>\n' + (message.content | tojson) + '<|end|>' }}
  {%- else %}
    {{- '<|' + message.role + '|>\n' + (message.content | trim) + '<|end|>' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\n' }}{%- endif %}
"""
# No generation prompt; roles alternate, and ids of calls have nine characters.
MISTRAL = """
{%- if tools %}{{- '[AVAILABLE_TOOLS]' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}{%- endif %}
{%- set ns = namespace(turn=0) %}
{%- for message in messages %}
  {%- if not (message.role == 'tool' or message.tool_calls or message.role == 'system') %}
    {%- if (message.role == 'user') != (ns.turn % 2 == 0) %}
      {{- raise_exception('roles must alternate user/assistant') }}
    {%- endif %}
    {%- set ns.turn = ns.turn + 1 %}
  {%- endif %}
{%- endfor %}
{%- for message in messages %}
  {%- if message.role == 'system' %}
    {%- if not loop.first %}{{- raise_exception('a system message comes first') }}{%- endif %}
    {{- '<|system|>' + message.content + '\n\n' }}
  {%- elif message.role == 'user' %}
    {{- '<|user|>' + message.content + '[/INST]' }}
  {%- elif message.tool_calls %}
    {{- '[TOOL_CALLS][' }}
    {%- for call in message.tool_calls %}
      {%- if call.id | length != 9 %}{{- raise_exception('ids have length 9') }}{%- endif %}
      {{- (call.function | tojson)[:-1] + ', "id": "' + call.id + '"}' }}
      {%- if not loop.last %}{{- ', ' }}{%- endif %}
    {%- endfor %}
    {{- ']<|end|>' }}
  {%- elif message.role == 'tool' %}
    {{- '[TOOL_RESULTS]' + message.content + '[/TOOL_RESULTS]' }}
  {%- else %}
    {{- ' ' + message.content + '<|end|>' }}
  {%- endif %}
{%- endfor %}
"""
# No system messages, no tools.
GEMMA = """
{%- for message in messages %}
  {%- if message.role == 'system' %}{{- raise_exception('System role not supported') }}{%- endif %}
  {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
    {{- raise_exception('Conversation roles must alternate') }}
  {%- endif %}
  {{- '<|' + message.role + '|>\n' + (message.content | trim) + '<|end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\n' }}{%- endif %}
"""
# The system message stands with the last message alone, and only if the user wrote that one.
MISTRAL_WITH_LATE_SYSTEM = """
{%- if messages[0].role == 'system' %}
  {%- set system, rest = messages[0].content, messages[1:] %}
{%- else %}{%- set system, rest = none, messages %}{%- endif %}
{%- for message in rest %}
  {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
    {{- raise_exception('roles must alternate user/assistant') }}
  {%- endif %}
  {%- if message.role == 'user' %}
    {{- '<|user|> ' + (system + '\n\n' if loop.last and system else '') + message.content }}
    {{- '[/INST]' }}
  {%- else %}{{- ' ' + (message.content | trim) + '<|end|>' }}{%- endif %}
{%- endfor %}
"""
# A header with today's date before everything, words trimmed.
LLAMA_WITH_DATE = """
{%- set today = strftime_now('%d %b %Y') if strftime_now is defined else 'no day' %}
{{- '<|system|>\n\nToday: ' + today + '\n\n' }}
{%- if messages[0].role == 'system' %}
  {{- messages[0].content | trim }}{%- set messages = messages[1:] %}
{%- endif %}
{{- '<|end|>' }}
{%- for message in messages %}
  {{- '<|' + message.role + '|>\n\n' + (message.content | trim) + '<|end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\n\n' }}{%- endif %}
"""
# Thoughts stay in what the last answer says, and an answer without any gets an empty one.
QWEN_WITH_THOUGHTS = """
{%- for message in messages %}
  {%- set parts = message.content.split('</think>') %}
  {{- '<|' + message.role + '|>\n' }}
  {%- if message.role == 'assistant' and loop.last %}
    {%- set thought = parts[0].split('<think>')[-1].strip('\n') if parts | length > 1 else '' %}
    {{- '<think>\n' + thought + '\n</think>\n\n' }}
  {%- endif %}
  {{- parts[-1].lstrip('\n') + '<|end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\n' }}{%- endif %}
"""
# The generation prompt begins a thought that no written conversation has.
DEEPSEEK = """
{%- for message in messages %}
  {%- if message.role == 'assistant' %}
    {{- '<|assistant|>' + message.content.split('</think>')[-1] + '<|end|>' }}
  {%- else %}{{- '<|' + message.role + '|>' + message.content }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|><think>\n' }}{%- endif %}
"""
# One end token for all, behind the last answer.
ONE_END = """
{%- for message in messages %}
  {{- (message.role | upper) + ': ' + message.content + '\n' }}
{%- endfor %}
{{- 'ASSISTANT:' if add_generation_prompt else '<|end|>' }}
"""
