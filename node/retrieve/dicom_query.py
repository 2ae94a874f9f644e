"""One question to one archive by C-FIND (PS3.4 §C), put by a process that lives for this question alone.

The question comes as JSON on standard input, the reply leaves as JSON on standard output. Only a complete
Study Instance UID is ever asked for: no wildcard, no empty key, no Patient ID.
"""

from __future__ import annotations

import logging
import resource
import signal
import sys

from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from node.errors import Failed, Transient
from node.retrieve.question import Question, Reply

#: C-FIND statuses, PS3.4 §C.4.1.1.4.
_SUCCESS = 0x0000
_PENDING = (0xFF00, 0xFF01)
#: A rejection that passes by itself, PS3.8 §9.3.4.
_REJECTED_TRANSIENT = 2
#: A study has one answer; whoever gives more is not listened to for long.
_MOST_ANSWERS = 20
#: Number of Study Related Instances is an IS of at most 12 characters (PS3.5 §6.2); no study has more than this.
_MOST_INSTANCES = 10_000_000
_MEMORY_BYTES = 768 << 20


def instances_of_study(question: Question) -> int:
    """Return Number of Study Related Instances (0020,1208) as the peer says it.

    Raises:
        Failed: the peer does not know the study or the number, or will never answer us as it is set up.
        Transient: it does not answer now.
    """
    ae = AE(ae_title=question.our_ae_title)
    ae.connection_timeout = question.connect_s
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = question.answer_s
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    association = ae.associate(question.host, question.port, ae_title=question.their_ae_title)
    if not association.is_established:
        raise _why_not(association, question)
    try:
        return _ask(association, question)
    finally:
        if association.is_established:
            association.release()


def _ask(association: Association, question: Question) -> int:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = question.study_instance_uid
    identifier.NumberOfStudyRelatedInstances = None
    answers: list[Dataset] = []
    responses = association.send_c_find(identifier, StudyRootQueryRetrieveInformationModelFind)
    for status, answer in responses:
        code = status.get("Status")
        if code is None:
            raise Transient(f"{question.peer} broke off, or gave no answer within {question.answer_s:g} s")
        if code == _SUCCESS:
            break
        if code not in _PENDING:
            raise Transient(f"{question.peer} answered the query with 0x{code:04X}")
        if answer is not None:
            answers.append(answer)
        if len(answers) > _MOST_ANSWERS:
            association.abort()
            raise Failed(f"{question.peer} answered with other studies than the one asked for")
    return _count(answers, question)


def _count(answers: list[Dataset], question: Question) -> int:
    """The number in the answer that is about the study asked for; others are not believed."""
    about_it = [each for each in answers if each.get("StudyInstanceUID") == question.study_instance_uid]
    if not about_it:
        raise Failed(f"{question.peer} does not hold the study")
    try:
        text = str(about_it[0].get("NumberOfStudyRelatedInstances") or "").strip()
    except (ValueError, TypeError, OverflowError):
        text = ""
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _MOST_INSTANCES):
        raise Failed(f"{question.peer} does not say how many instances the study has")
    return int(text)


def _why_not(association: Association, question: Question) -> Failed | Transient:
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        codes = f"{answer.result}/{answer.result_source}/{answer.diagnostic}"
        reason = f"{question.peer} rejects the association ({codes})"
        return Transient(reason) if answer.result == _REJECTED_TRANSIENT else Failed(reason)
    if association.rejected_contexts:
        return Failed(f"{question.peer} answers no Study Root queries")
    return Transient(f"nobody answers at {question.peer} ({question.host}:{question.port})")


def main() -> int:
    """Answer the question on standard input; always prints a reply, unless it is killed."""
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    question = Question.model_validate_json(sys.stdin.buffer.read())
    # Also where the room that would kill us is gone.
    signal.alarm(int(question.limit_s) + 5)
    try:
        reply = Reply(count=instances_of_study(question))
    except Transient as error:
        reply = Reply(reason=str(error), again=True)
    except Failed as error:
        reply = Reply(reason=str(error))
    sys.stdout.write(reply.model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
