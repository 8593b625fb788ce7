"""The tests of OpenAI's suite that fail here, and why; in all variants, sync and async.

One that passes, and one that the suite does not have, fails the run.
"""

_MD5 = 'sends md5="md5", which is not the digest of anything; a wrong digest is refused'
_ZERO = "sends limit=0, and pages have at least one item"
_STORED = "answers are not stored, so there is none to ask for later"
_WEBHOOKS = "webhooks are set up by the operator, not over this API"


def _each(file: str, kind: str, names: str, reason: str) -> dict[str, str]:
    return {f"{file}::{kind}::test_{name}": reason for name in names.split()}


EXPECTED_FAILURES: dict[str, str] = {
    **_each("test_uploads.py", "TestUploads", "method_complete_with_all_params", _MD5),
    **_each("test_files.py", "TestFiles", "method_list_with_all_params", _ZERO),
}
