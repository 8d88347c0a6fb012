"""A Kafka as a company runs it: TLS, SASL and access control lists; one node or three.

Clients come in at `CLIENT` (SASL over TLS, every mechanism), at `MUTUAL` (TLS with a client certificate) or at `OIDC`
(as `CLIENT`, but with tokens that `identity` signed, which Kafka checks by its keys). Two more listeners are for what
goes wrong: `EXPIRED` and `STRANGER` are `CLIENT` with an expired certificate, and with that of another host. Nobody may
do anything there that was not `allow`ed. Who logs in at `CLIENT` by SCRAM-SHA-256 is thrown out after
`SESSION_SECONDS`, as by brokers that limit sessions (KIP-368), and needs the password of then to come back. `INTERNAL`
stays plain and lets everything pass: the tests themselves look and administer there. So does `MSK`, which says of
itself that it is at `front_port`: where a test puts what stands for Amazon MSK (`msk.py`).
"""

import base64
import json
import re
import secrets
from collections.abc import Mapping
from concurrent.futures import Future
from time import time
from typing import Any, Final

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.support.broker import KafkaCluster
from tests.support.certificates import Authority
from tests.support.identity import AUDIENCE, ISSUER, IdentityProvider
from tests.support.node import KafkaNode
from tests.support.ports import HOST, free_ports

USER: Final = "bridge"
SESSION_SECONDS: Final = 2
SASL_LISTENERS: Final = ("CLIENT", "OIDC", "EXPIRED", "STRANGER")
MORE_LISTENERS: Final = ("MUTUAL", "OIDC", "MSK", "EXPIRED", "STRANGER")
_SECONDS: Final = 30.0
_MODULES: Final = {
    "plain": 'org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";',
    "scram-sha-256": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    "scram-sha-512": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    "oauthbearer": (
        "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required "
        'unsecuredLoginStringClaim_sub="broker";'
    ),
}
_UNSECURED: Final = (
    "org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
)
_SIGNED: Final = "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler"


class SecureCluster(KafkaCluster):
    """`KafkaCluster` with TLS, SASL and access control lists. `plain` takes what the tests do themselves."""

    def __init__(self, nodes: int = 1, *, properties: Mapping[str, str] | None = None) -> None:
        """Prepare the cluster and its certificates; `USER` logs in with `password`."""
        super().__init__(nodes, properties=properties)
        self.password = secrets.token_hex(16)
        folder = self.directory / "certificates"
        folder.mkdir()
        self.authority = Authority(folder)
        self.certificate = self.authority.sign("client", USER)
        """Of `USER`, for `MUTUAL`; the key is in the same file."""
        self.broker_certificate = self.authority.sign("broker", "broker")
        self._certificates = {
            "CLIENT": self.broker_certificate,
            "EXPIRED": self.authority.sign("broker-expired", "broker", days=0),
            "STRANGER": self.authority.sign("broker-stranger", "broker", ["DNS:other.example"]),
        }
        self._certificates["MUTUAL"] = self._certificates["OIDC"] = self._certificates["CLIENT"]
        self.identity = IdentityProvider(self._certificates["CLIENT"], USER)
        self.front_port, *more = free_ports(1 + len(MORE_LISTENERS) * nodes)
        ports = iter(more)
        self._more = {node.number: {name: f"{HOST}:{next(ports)}" for name in MORE_LISTENERS} for node in self.nodes}

    def at(self, listener: str) -> str:
        """Return the addresses of all nodes at one of the further listeners."""
        return ",".join(more[listener] for more in self._more.values())

    def start(self) -> None:
        """Start all nodes; return when the cluster is ready, and `USER` can log in."""
        self.identity.start()
        for node in self.nodes:
            node.jvm = (f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self.identity.keys_url}",)
        super().start()
        self.set_password(USER, self.password)

    def stop(self) -> None:
        """End all nodes at once and remove their data."""
        super().stop()
        self.identity.stop()

    def set_password(self, user: str, password: str) -> None:
        """Give a user this password, for SCRAM. That for PLAIN stays: it is part of the brokers' settings."""
        admin = self._admin()
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):  # one user once a request
            change = UserScramCredentialUpsertion(user, ScramCredentialInfo(mechanism, 4096), password.encode())
            _wait(admin.alter_user_scram_credentials([change]))

    def allow(self, prefix: str, *operations: AclOperation, user: str = USER) -> None:
        """Let a user do this with the topics whose names begin with the prefix."""
        admin = self._admin()
        _wait(admin.create_acls([_binding(prefix, user, operation) for operation in operations]))

    def forbid(self, topic: str, operation: AclOperation, user: str = USER) -> None:
        """Forbid a user this with a topic, whatever is allowed otherwise."""
        admin = self._admin()
        _wait(admin.create_acls([_binding(topic, user, operation, AclPermissionType.DENY)]))

    def let(self, topic: str, operation: AclOperation, user: str = USER) -> None:
        """Take back what `forbid` did."""
        forbidden = AclBindingFilter(
            ResourceType.TOPIC,
            topic,
            ResourcePatternType.PREFIXED,
            f"User:{user}",
            "*",
            operation,
            AclPermissionType.DENY,
        )
        admin = self._admin()
        _wait(admin.delete_acls([forbidden]))

    def renew(self, listener: str) -> None:
        """Give a listener the good certificate, without a restart."""
        name = f"listener.name.{listener.lower()}.ssl.keystore.location"
        entry = ConfigEntry(name, str(self._certificates["CLIENT"]), incremental_operation=AlterConfigOpType.SET)
        admin = self._admin()
        for node in self.nodes:  # librdkafka takes one broker a call
            broker = ConfigResource(ResourceType.BROKER, str(node.number), incremental_configs=[entry])
            _wait(admin.incremental_alter_configs([broker]))

    def _admin(self) -> AdminClient:
        # has to live until the futures are done
        return AdminClient({"bootstrap.servers": self.plain, "log_level": 0})

    def _properties_of(self, node: KafkaNode) -> dict[str, str]:
        usual = super()._properties_of(node)
        more = "".join(f",{name}://{address}" for name, address in self._more[node.number].items())
        protocols = {**dict.fromkeys(SASL_LISTENERS, "SASL_SSL"), "MUTUAL": "SSL", "MSK": "PLAINTEXT"}
        listeners = usual["listeners"] + more
        advertised = listeners.replace(self._more[node.number]["MSK"], f"{HOST}:{self.front_port}")
        plain = "INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"
        properties = {
            **usual,
            "listeners": listeners,
            "advertised.listeners": re.sub(",CONTROLLER://[^,]+", "", advertised),
            "listener.security.protocol.map": f"{plain},{','.join(map(':'.join, protocols.items()))}",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",  # whoever comes in at a plain listener: the brokers, and the tests
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.file),
            "ssl.principal.mapping.rules": "RULE:^CN=(.*)$/$1/",
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.client.scram-sha-256.connections.max.reauth.ms": str(SESSION_SECONDS * 1000),
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        }
        for name, file in self._certificates.items():
            listener = f"listener.name.{name.lower()}"
            properties[f"{listener}.ssl.keystore.type"] = "PEM"
            properties[f"{listener}.ssl.keystore.location"] = str(file)
        for name in SASL_LISTENERS:
            listener = f"listener.name.{name.lower()}"
            for mechanism, module in _MODULES.items():
                module = module.format(user=USER, password=self.password)  # noqa: PLW2901
                properties[f"{listener}.{mechanism}.sasl.jaas.config"] = module
            properties[f"{listener}.oauthbearer.sasl.server.callback.handler.class"] = _UNSECURED
        properties |= {
            "listener.name.oidc.oauthbearer.sasl.server.callback.handler.class": _SIGNED,
            "listener.name.oidc.sasl.oauthbearer.jwks.endpoint.url": self.identity.keys_url,
            "listener.name.oidc.sasl.oauthbearer.expected.issuer": ISSUER,
            "listener.name.oidc.sasl.oauthbearer.expected.audience": AUDIENCE,
        }
        return properties | self._properties


def token(user: str = USER, seconds: int = 3600) -> str:
    """Return an unsigned token (JWT) for a user, which this Kafka takes for good."""
    now = int(time())
    parts = [{"alg": "none"}, {"sub": user, "iat": now - 60, "exp": now + seconds}]
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), ""])


def _binding(
    prefix: str, user: str, operation: AclOperation, permission: AclPermissionType = AclPermissionType.ALLOW
) -> AclBinding:
    return AclBinding(
        ResourceType.TOPIC,
        prefix,
        ResourcePatternType.PREFIXED,
        f"User:{user}",
        "*",
        operation,
        permission,
    )


def _wait(futures: Mapping[Any, Future[Any]]) -> None:
    for future in futures.values():
        future.result(_SECONDS)
