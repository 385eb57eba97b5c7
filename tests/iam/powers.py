"""Which flow needs which power: the proof that no role has more than it uses.

tests/iam takes each power away, alone, and the flow named beside it must fail by AccessDenied.
A power of the template that stands in neither table fails a test, and so does one that is here
and not in the template.
"""

from __future__ import annotations

from tests.template.policies import Power
from tiktok_linking.settings import NEEDS

_NEEDED = """
authorize ReadAndStartSessions
    dynamodb:GetItem SessionsTable                   show_the_connect_page
    dynamodb:UpdateItem SessionsTable                go_to_tiktok
callback UseUpSessions
    dynamodb:UpdateItem SessionsTable                park_the_code
callback SaveGrantsAndAccounts
    dynamodb:UpdateItem AccountsTable                link
callback ReadAndMakeWrappedDataKeys
    dynamodb:GetItem AccountsTable                   link
    dynamodb:PutItem AccountsTable                   link_in_a_new_epoch
callback SealPairsAndParkedCodes
    kms:GenerateDataKey SealingKey                   link_in_a_new_epoch
    kms:Decrypt SealingKey                           complete
callback ReadClientSecrets
    secretsmanager:GetSecretValue AppSecret          link
callback RescuePairs
    sqs:SendMessage RescueQueue                      rescue_a_link
sessions MakeReadAndCancelSessions
    dynamodb:PutItem SessionsTable                   make_a_session
    dynamodb:GetItem SessionsTable                   show_a_session
    dynamodb:UpdateItem SessionsTable                cancel_a_session
sessions ReadAccountsWithoutCiphertext
    dynamodb:BatchGetItem AccountsTable              relink
accounts ListAccounts
    dynamodb:Query AccountsTable/index/owner         list_accounts_of_one_user
    dynamodb:Query AccountsTable/index/listing       list_all_accounts
accounts ReadGrantsAndAccountsWithoutCiphertext
    dynamodb:Query AccountsTable                     change_an_account
    dynamodb:BatchGetItem AccountsTable              show_an_account
accounts ChangeMetadataAndMode
    dynamodb:UpdateItem AccountsTable                change_an_account
tokens ReadOneLink
    dynamodb:Query AccountsTable                     vend
tokens MarkUseAndPassedDeadline
    dynamodb:UpdateItem AccountsTable                vend_past_the_deadline
tokens ReadWrappedAccessKeys
    dynamodb:GetItem AccountsTable                   vend
tokens OpenAccessTokens
    kms:Decrypt SealingKey                           vend
tokens AskForRenewal
    lambda:InvokeFunction RefreshFunction            vend_after_expiry
unlink ReadOneGrantAndItsAccounts
    dynamodb:Query AccountsTable                     unlink
unlink MarkAndForgetTokens
    dynamodb:UpdateItem AccountsTable                unlink
unlink ReadWrappedAccessKeys
    dynamodb:GetItem AccountsTable                   unlink
unlink OpenAccessTokens
    kms:Decrypt SealingKey                           unlink
unlink ReadClientSecrets
    secretsmanager:GetSecretValue AppSecret          unlink
unlink AskForRenewal
    lambda:InvokeFunction RefreshFunction            unlink_with_a_dead_token
unlink FindAccountsOfOneEndUser
    dynamodb:Query AccountsTable/index/owner         erase_an_end_user
unlink SendAndReceiveUnfinishedUnlinks
    sqs:SendMessage RevocationQueue                  unlink_during_an_outage
    sqs:ReceiveMessage RevocationQueue               finish_an_unlink
    sqs:DeleteMessage RevocationQueue                finish_an_unlink
webhook MarkGrants
    dynamodb:UpdateItem AccountsTable                remove_the_app_at_tiktok
webhook ReadClientSecrets
    secretsmanager:GetSecretValue AppSecret          remove_the_app_at_tiktok
refresh FindDueGrants
    dynamodb:Query AccountsTable/index/due           renew_by_schedule
refresh ReadGrants
    dynamodb:GetItem AccountsTable                   renew_when_asked
    dynamodb:BatchGetItem AccountsTable              renew_when_asked
refresh SaveGrants
    dynamodb:UpdateItem AccountsTable                renew_when_asked
refresh MakeWrappedDataKeys
    dynamodb:PutItem AccountsTable                   renew_in_a_new_epoch
refresh SealAndOpenPairs
    kms:GenerateDataKey SealingKey                   renew_in_a_new_epoch
    kms:Decrypt SealingKey                           renew_when_asked
refresh ReadClientSecrets
    secretsmanager:GetSecretValue AppSecret          renew_when_asked
refresh FindUnfinishedUnlinks
    dynamodb:Query AccountsTable/index/ending        finish_an_unlink
refresh SendUnfinishedUnlinks
    sqs:SendMessage RevocationQueue                  finish_an_unlink
    sqs:GetQueueAttributes RevocationQueue           finish_an_unlink
refresh SendAndReceiveRenewals
    sqs:SendMessage RenewalQueue                     renew_by_schedule
    sqs:ReceiveMessage RenewalQueue                  work_off_the_queue
    sqs:DeleteMessage RenewalQueue                   work_off_the_queue
    sqs:GetQueueAttributes RenewalQueue              renew_by_schedule
refresh RescuePairs
    sqs:SendMessage RescueQueue                      rescue_a_renewal
    sqs:GetQueueAttributes RescueQueue               tell_how_much_waits_for_rescue
remind FindAccountsToLookAt
    dynamodb:Query AccountsTable/index/reminders     remind
remind ReadGrantsAndAccountsWithoutCiphertext
    dynamodb:BatchGetItem AccountsTable              remind
remind MarkRemindersAndPassedDeadlines
    dynamodb:UpdateItem AccountsTable                remind
rescue SavePairs
    dynamodb:UpdateItem AccountsTable                land_a_rescued_link
rescue FinishSessions
    dynamodb:UpdateItem SessionsTable                land_a_rescued_link
rescue ReceivePairs
    sqs:ReceiveMessage RescueQueue                   land_a_rescued_link
    sqs:DeleteMessage RescueQueue                    land_a_rescued_link
publish SendEvents
    events:PutEvents EventBus                        tell_of_a_link
publish ReadGrantsAndAccountsWithoutCiphertext
    dynamodb:Query AccountsTable                     tell_of_a_link
publish NoteInTimelines
    dynamodb:PutItem AccountsTable                   tell_of_a_link
publish MoveIndexCopies
    dynamodb:UpdateItem AccountsTable                tell_of_an_unlink
"""

# Every function reads or writes a table.
_WITH_TABLES = tuple(NEEDS)
_DYNAMODB_ASKS = (
    "MiniStack's DynamoDB encrypts nothing, so it asks for no key in the caller's name;"
    " tests/template/test_powers.py holds the statement to DynamoDB's use of this key"
)
_LAMBDA_SENDS = (
    "Lambda's queue of asynchronous calls sends it, which the local world does not have;"
    " SAM makes the statement, tests/template/test_powers.py holds it to this queue"
)
_SCHEDULER_CALLS = (
    "EventBridge Scheduler acts with this role, and the local world calls the function itself;"
    " SAM makes the statement, tests/template/test_powers.py holds it to its one target"
)
_OFF_BY_DEFAULT = (
    "the local world has AuditEvents and ReminderLinks off, and then the roles have no such"
    " statements; tests/template/test_powers.py holds them to the stack's own bus and table"
)
_LAMBDA_READS = (
    "Lambda reads the streams with it, and the local world's poller in its own name; the dead"
    " letters are Lambda's too. tests/template/test_powers.py holds it to these streams"
)
_LAMBDA_LOOKS = (
    "Lambda demands it of a mapping's role and looks at its queue so; the local poller has no use"
    " for it. tests/template/test_powers.py holds it to this queue"
)


def _parsed(text: str) -> dict[Power, str]:
    table: dict[Power, str] = {}
    role = statement = ""
    for line in filter(None, text.splitlines()):
        if line.startswith(" "):
            action, resource, flow = line.split()
            table[Power(role, statement, action, resource)] = flow
        else:
            role, statement = line.split()
    return table


NEEDED: dict[Power, str] = _parsed(_NEEDED)
"""Power → the flow that fails without it."""

NOT_SHOWN: dict[Power, str] = {
    **{
        Power(role, "TablesKeyThroughDynamoDB", f"kms:{verb}", "TablesKey"): _DYNAMODB_ASKS
        for role in _WITH_TABLES
        for verb in ("Decrypt", "GenerateDataKey", "DescribeKey")
    },
    Power(
        "refresh",
        "RefreshFunctionEventInvokeConfigOnFailureSQSPolicy",
        "sqs:SendMessage",
        "ScheduleDeadLetterQueue",
    ): _LAMBDA_SENDS,
    Power(
        "remind",
        "RemindFunctionEventInvokeConfigOnFailureSQSPolicy",
        "sqs:SendMessage",
        "ScheduleDeadLetterQueue",
    ): _LAMBDA_SENDS,
    Power(
        "remind daily",
        "RemindFunctionDailyLambdaPolicy",
        "lambda:InvokeFunction",
        "RemindFunction",
    ): _SCHEDULER_CALLS,
    Power(
        "remind daily",
        "RemindFunctionDailySQSPolicy",
        "sqs:SendMessage",
        "ScheduleDeadLetterQueue",
    ): _SCHEDULER_CALLS,
    Power(
        "refresh plan",
        "RefreshFunctionPlanLambdaPolicy",
        "lambda:InvokeFunction",
        "RefreshFunction",
    ): _SCHEDULER_CALLS,
    Power(
        "refresh plan",
        "RefreshFunctionPlanSQSPolicy",
        "sqs:SendMessage",
        "ScheduleDeadLetterQueue",
    ): _SCHEDULER_CALLS,
    Power("rescue", "ReceivePairs", "sqs:GetQueueAttributes", "RescueQueue"): _LAMBDA_LOOKS,
    **{
        Power("publish", "ReadStreams", f"dynamodb:{verb}", f"{table}/stream"): _LAMBDA_READS
        for verb in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")
        for table in ("AccountsTable", "SessionsTable")
    },
    Power("tokens", "SendAuditEvents", "events:PutEvents", "EventBus"): _OFF_BY_DEFAULT,
    **{
        Power(
            "publish", "MakeSessionsForReminders", f"dynamodb:{verb}", "SessionsTable"
        ): _OFF_BY_DEFAULT
        for verb in ("PutItem", "GetItem")
    },
    Power(
        "publish", "TellWhereAStreamStopped", "sqs:SendMessage", "PublishDeadLetterQueue"
    ): _LAMBDA_READS,
    Power(
        "unlink",
        "SendAndReceiveUnfinishedUnlinks",
        "sqs:GetQueueAttributes",
        "RevocationQueue",
    ): _LAMBDA_LOOKS,
}
"""Power → why MiniStack cannot show that it is needed."""
