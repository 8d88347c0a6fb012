"""Every setting: small frozen sections, a docstring for each field with its unit and the reason for its default.

The docstrings are the fields' descriptions (`use_attribute_docstrings`), from which the settings reference is made. A
setting's environment variable is its path in capitals, `AURORA_BRIDGE_INGRESS__PORT`; in the TOML file it is `port`
below `[ingress]`. How the values get here is in `load`, what must hold between them in `checks`. The module is long
because it is that reference.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from aurora_bridge.settings.expected_values import choices
from aurora_bridge.settings.field_types import (
    EMPTY_IS_NONE,
    NO_BOOL,
    ApiUrl,
    AttributeNames,
    AuroraId,
    AwsRegion,
    BasePath,
    Brokers,
    Bytes,
    ClientId,
    ClusterId,
    Days,
    Deadline,
    Extensions,
    HeaderName,
    Host,
    HttpsUrl,
    MalformedStatus,
    Networks,
    OAuthClientId,
    ParameterName,
    ParameterNames,
    Port,
    PublicUrl,
    ReadableFile,
    Scope,
    Seconds,
    SecretFile,
    TopicPrefix,
    UserName,
    Whole,
    WholeSeconds,
)

DAY = 86_400  # seconds
_GIBIBYTE = 2**30


class Section(BaseModel):
    """Settings that belong together: frozen, closed, described by their docstrings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _in_any_case(cls, value: object, info: ValidationInfo) -> object:
        """Take a word of a fixed set in any case: `INFO` for `info`."""
        if not isinstance(value, str) or info.field_name is None:
            return value
        words = (word for word in choices(cls.model_fields[info.field_name]) if isinstance(word, str))
        return next((word for word in words if word.lower() == value.strip().lower()), value)


class IngressSettings(Section):
    """Where webhooks come in."""

    host: Host = "127.0.0.1"
    """Address to listen on. Loopback, because a daemon without credentials must not be reachable from elsewhere."""

    port: Port = 8080
    """Port to listen on; 0 takes a free one. 8080 needs no privilege."""

    base_path: BasePath = "/"
    """Path below which the default route lies; for a proxy that passes on only a part of the paths."""

    public_url: PublicUrl = ""
    """URL under which Aurora reaches the ingress: what the templates to paste begin with.

    Empty, because the daemon cannot know what stands in front of it; the templates then say HOST.
    """

    tls_certificate_file: SecretFile = None
    """File with the certificate and its chain (PEM), for TLS without a proxy in front. Empty: plain HTTP."""

    tls_key_file: SecretFile = None
    """File with the certificate's key (PEM, not encrypted)."""

    trusted_proxies: Networks = ()
    """Networks of the proxies in front that are believed when they say where a request came from.

    They say it in `X-Forwarded-For`, or by the PROXY protocol if that is on; log and status page show it. None, because
    anybody else can claim any address. Who may deliver does not depend on it.
    """

    proxy_protocol: bool = False
    """Whether each connection begins with the PROXY protocol, version 1 or 2: for a proxy that passes on TCP.

    Off, because a connection without it is then closed, a probe's included. Only `trusted_proxies` are believed.
    """

    max_in_flight: Annotated[Whole, Field(ge=1, le=100_000)] = 2048
    """Deliveries under way at once; one more gets 503 and Aurora tries it again.

    Worst case of memory for their targets: this many times `max_target_bytes`, 32 MiB with the defaults.
    """

    max_connections: Annotated[Whole, Field(ge=1, le=100_000)] = 4096
    """Connections open at once; one more takes the place of the one that has been without a request for longest.

    The new one is closed only if all others wait for their answers. Worst case of memory for them: about 30 KB each
    with TLS, 125 MB with the default, and 240 MB for the heads of their requests.
    """

    max_target_bytes: Annotated[Bytes, Field(ge=1024, le=65_536)] = 16_384
    """Bytes of a request target; a longer one gets 414. Aurora's own templates need less than a thousand."""

    keepalive_seconds: Annotated[Seconds, Field(ge=1, le=3600)] = 75
    """Seconds after which a silent connection is closed, also one that sends its headers too slowly.

    75 is longer than the 60 s of common load balancers, so that the side which opened the connection closes it.
    """

    malformed_status: MalformedStatus = 200
    """Status for a delivery that is kept as a dead letter, with good credentials but without a readable event.

    200, because a 4xx makes Aurora repeat what cannot get better and counts toward the subscription's auto-disable; 422
    while somebody fixes the template, since each retry uses the latest one.
    """

    secret_parameters: ParameterNames = (
        *("token", "access_token", "api_token", "auth_token", "session_token", "webhook_token"),
        *("secret", "secret_key", "client_secret", "api_key", "authorization", "password", "passwd", "pwd"),
    )
    """Parameters whose values reach no event, log, metric or dead letter, by their names in lower snake_case.

    They are found in any spelling. `session_token`, which is Aurora's own and gives access to a tenant's data, is one
    even if it is not in the list; so are the header and the parameter that carry a token. The others are common names
    of secrets. To add a name, repeat those that you need.
    """

    log_deliveries: bool = False
    """Whether each delivery gets a log line. Off, because the metrics tell the same and a line costs time."""

    shutdown_pause_seconds: Annotated[Seconds, Field(ge=0, le=600)] = 0
    """Seconds between "not ready" and the end of listening, in which load balancers take this instance out.

    0, because nothing waits for it on loopback; in Kubernetes 5 to 10 suit most load balancers.
    """


class AdminSettings(Section):
    """Where probes, metrics and people look."""

    host: Host = "127.0.0.1"
    """Address of the admin port. Loopback, because metrics reveal how a business runs."""

    port: Port = 9090
    """Admin port; 0 takes a free one."""


class KafkaSettings(Section):
    """Where events go."""

    bootstrap_servers: Brokers = ""
    """Brokers to begin with, `host:port` with commas between. Empty: no Kafka, the embedded log keeps the events."""

    topic_prefix: TopicPrefix = "aurora."
    """What stands before the event's name in the name of its topic."""

    create_topics: bool = True
    """Whether missing topics are created at start; off where only an administrator may."""

    partitions: Annotated[Whole, Field(ge=1, le=1000)] = 3
    """Partitions of a topic that is created: three consumers can share it. To add some later breaks the order."""

    replication_factor: Annotated[int | None, Field(ge=1, le=100), NO_BOOL, EMPTY_IS_NONE] = None
    """Replicas of a topic that is created. Empty: the broker's own default, which its administrator chose."""

    retention_days: Annotated[Days, Field(ge=1, le=36_500)] = 30
    """Days a created topic keeps events: the span over which Aurora can send notifications again."""

    content_mode: Literal["structured", "binary"] = "structured"
    """Form of a record (CloudEvents Kafka binding): the whole event as JSON, or its attributes as `ce_` headers.

    Structured, because the value alone is then the event, whatever a tool does with headers.
    """

    key: Literal["id", "subject"] = "id"
    """Key of a record: the event's id, or its subject (without one, the id).

    The id, by which a copy is dropped without decoding anything. The subject, where the topics of states are compacted
    or a stream processor joins by key. The partition is the subject's in either case.
    """

    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none"
    """Codec of record batches. None, because events are small and each codec costs time; all save network."""

    idempotence: bool = True
    """Whether batches are numbered, so that one that is sent twice is stored once.

    Off for brokers that give no producer ids: a batch whose response was lost may then be in its topic twice, with the
    same ids.
    """

    cluster_id: ClusterId = ""
    """Id of the one cluster to send to, as `aurora-bridge cluster show` prints it. Empty: the first one that answers.

    The state directory remembers which one that was. Changing the setting accepts another cluster: the index is
    recreated from its topics, and what waits in the spool goes there.
    """

    client_id: ClientId = "aurora-bridge"
    """Name the brokers see in their logs, metrics and quotas."""

    connections_max_idle_seconds: Annotated[Seconds, Field(ge=10, le=3600)] = 180
    """Seconds after which an idle connection to a broker is closed; the next record opens it again.

    180, because a cloud's NAT or load balancer forgets an idle connection without a word: Azure's after 240 s, those of
    AWS after 350 s. Kafka's brokers themselves close it after 600 s.
    """

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """What the brokers' listener speaks. `PLAINTEXT`, as Kafka's own default; `SASL_SSL` or `SSL` in production."""

    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"] | None, EMPTY_IS_NONE
    ] = None
    """How the daemon proves who it is. Empty, because it must be the one that the brokers' listener takes."""

    sasl_username: UserName = ""
    """User of `PLAIN` and of the two `SCRAM`. The other mechanisms take none."""

    sasl_password_file: SecretFile = None
    """File with this user's password on one line; read again for each connection, so that it can be rotated."""

    sasl_token_file: SecretFile = None
    """File with the token of `OAUTHBEARER`, which another program keeps fresh; read again for each connection."""

    oauth_token_url: HttpsUrl = ""
    """Token endpoint of the identity provider, from which the daemon obtains the token of `OAUTHBEARER` itself.

    By OAuth 2.0 client credentials. Empty: the token is in `sasl_token_file`.
    """

    oauth_client_id: OAuthClientId = ""
    """Client that the identity provider knows the daemon as."""

    oauth_client_secret_file: SecretFile = None
    """File with this client's secret on one line; read again each time a token is obtained."""

    oauth_client_authentication: Literal["basic", "post"] = "basic"
    """How the secret reaches the endpoint: in the header `Authorization`, or in the body of the POST.

    Basic, because every endpoint must take it (RFC 6749, section 2.3.1); `post` for those that do not.
    """

    oauth_scope: Scope = ""
    """Scope to ask for, several with spaces between. Empty: the client's own at the identity provider."""

    oauth_extensions: Extensions = ()
    """What goes to the broker beside the token, as in `logicalCluster=lkc-1,identityPoolId=pool-1`. None by default."""

    oauth_ca_file: ReadableFile = None
    """File with the authorities that sign the token endpoint's certificate, in PEM. Empty: those of the system."""

    aws_region: AwsRegion = ""
    """Region of the Amazon MSK cluster, for `AWS_MSK_IAM`: the tokens are signed for it, with the AWS credentials that
    the process has."""

    tls_ca_file: ReadableFile = None
    """File with the certificates of the authorities that sign the brokers', in PEM. Empty: those of the system."""

    tls_certificate_file: ReadableFile = None
    """File with the daemon's own certificate and its chain, in PEM, for brokers that ask for one."""

    tls_key_file: SecretFile = None
    """File with the private key of that certificate, in PEM, without a password. Empty: it is in the same file."""

    tls_check_hostname: bool = True
    """Whether a broker's certificate must be for the host it is reached by.

    On, because without it every certificate of the same authority passes for every broker's.
    """


class AuthSettings(Section):
    """Who may deliver: any one valid credential lets a delivery in."""

    tokens_file: SecretFile = None
    """File with the valid tokens, one a line; several at once so that a rotation refuses nothing.

    A line that begins with `#` is a comment.
    """

    header: HeaderName = "X-Aurora-Webhook-Token"
    """Header in which Aurora sends the token: `header_auth_key` of the subscription."""

    query_parameter: Annotated[ParameterName | None, EMPTY_IS_NONE] = None
    """Parameter that may carry the token instead, for subscriptions without authentication of their own.

    Empty: none, because proxies log query strings.
    """

    basic_file: SecretFile = None
    """File with the valid pairs for HTTP Basic, `user:password` a line, several at once as well; `#` as above."""

    allow_anonymous: bool = False
    """Whether deliveries without a valid credential are taken, on every address and beside those with one.

    A browser's cross-site request (`Sec-Fetch-Site`) is refused all the same.
    """


class AuroraSettings(Section):
    """Aurora's own API, by which the bridge sees the subscriptions. Without a token it is never called."""

    api_url: ApiUrl = "https://api.aurorasolar.com"
    """Where the API is: production; the sandbox is `https://api-sandbox.aurorasolar.com`. Plain http on loopback only,
    since the token goes there.
    """

    api_token_file: SecretFile = None
    """File with the API key on one line; read again for each request, so that it can be rotated.

    Aurora's limit of 90 requests a minute counts by key: give the bridge one of its own.
    """

    tenant_id: AuroraId = ""
    """Id that Aurora has for the tenant whose subscriptions these are; `tenant` is only what events call it."""

    partner_application_id: AuroraId = ""
    """Id of a partner application, in the place of a tenant's, for the subscriptions of that."""

    poll_seconds: Annotated[Seconds, Field(ge=0, le=DAY)] = 900
    """Seconds between two polls of the subscriptions by the daemon, plus or minus a quarter, so that replicas spread.

    0: never. 900, because Aurora switches subscriptions off without notice, and each poll costs one of the key's 90
    requests a minute for each replica.
    """

    @property
    def polled(self) -> bool:
        """Whether the daemon polls the subscriptions."""
        return self.api_token_file is not None and self.poll_seconds > 0


class DeadlinesSettings(Section):
    """When the daemon stops waiting, in seconds since receipt. Each ends before the next, the last before Aurora's."""

    publish_seconds: Deadline = 3
    """Seconds for Kafka to acknowledge; then the event goes to the spool. Leaves spool and answer their time."""

    spool_seconds: Deadline = 5
    """Seconds for the spool to commit; then the answer is 503."""

    answer_seconds: Deadline = 8
    """Seconds after which an answer leaves in any case: 2 s before Aurora gives up, for the way back."""


class SpoolSettings(Section):
    """The local durable queue that takes events while Kafka is away; without Kafka it is the event log."""

    enabled: bool = True
    """Whether there is one. Off only where the volume does not outlive the pod: Kafka away then means 503."""

    max_bytes: Annotated[Bytes, Field(ge=65_536, le=2**40)] = _GIBIBYTE
    """Bytes of its file at most; full, and Kafka away, means 503. 1 GiB is a million events of 1 KiB."""

    retention_days: Annotated[Days, Field(ge=1, le=36_500)] = 30
    """Days the embedded log keeps an event, as a topic would. An event that waits for Kafka never expires."""


class IndexSettings(Section):
    """The memory of what was seen, by which duplicates are recognised."""

    max_bytes: Annotated[Bytes, Field(ge=65_536, le=2**40)] = _GIBIBYTE
    """Bytes of its file at most; when full, the oldest rows expire early and a late duplicate can pass."""

    window_days: Annotated[Days, Field(ge=1, le=3650)] = 30
    """Days an event is remembered, at least: the span over which Aurora can send notifications again."""

    repeat_window_seconds: Annotated[WholeSeconds, Field(ge=0, le=30 * DAY)] = DAY
    """Seconds within which the same state of the same subject is a duplicate; 24 h, the span of Aurora's retries.

    At most 60 for `ahj_lookup_completed`, `design_request_completed` and `design_request_rejected`: Aurora has no event
    for their other states, so that they can come back unseen.
    """

    volatile_attributes: AttributeNames = ()
    """Attributes that make no event a new one: they are left out of the fingerprint, and kept in the event.

    None, because two events that differ in any attribute are two events unless somebody knows better.
    """


class LogSettings(Section):
    """What the daemon says on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is written."""

    format: Literal["auto", "json", "text"] = "auto"
    """Form of a line; `auto` is text on a terminal and JSON elsewhere."""
