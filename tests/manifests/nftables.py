"""NetworkPolicies in the words of nftables, for the network namespace of one pod.

A pod's own rules say whom it lets in and whom it calls, as a CNI's do at its end of the wire. Selectors become the
addresses of those whom they take. Source of the words: nft(8).
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from typing import Final

from tests.manifests.network import End, Network, Pod
from tests.manifests.objects import Object

#: Answers to what was let through.
_ALWAYS: Final = "ct state established,related accept"
#: At once: a test need not wait to see that it is refused.
_REFUSED: Final = ("meta l4proto tcp reject with tcp reset", "reject with icmpx admin-prohibited")


def write_ruleset(network: Network, pod: Pod, everybody: Iterable[End]) -> str:
    """All rules of a pod, in place of those that it had. ``everybody``: among whom selectors look for theirs."""
    everybody = list(everybody)
    chains = [
        _chain("input", "iif lo accept", _rules(network, pod, "Ingress", everybody)),
        _chain("output", "oif lo accept", _rules(network, pod, "Egress", everybody)),
    ]
    return "\n".join(["flush ruleset", "table inet policies {", *chains, "}"]) + "\n"


def _chain(hook: str, own: str, rules: list[str] | None) -> str:
    # Without a policy that concerns it, a pod is open in this direction.
    lines = [] if rules is None else [own, _ALWAYS, *rules, *_REFUSED]
    return "\n".join([f"chain {hook} {{", f"type filter hook {hook} priority 0; policy accept;", *lines, "}"])


def _rules(network: Network, pod: Pod, direction: str, everybody: list[End]) -> list[str] | None:
    concerned = network.concerned(direction, pod)
    if not concerned:
        return None
    ends, rules = ("to", "egress") if direction == "Egress" else ("from", "ingress")
    return [
        f"{peers} {ports} accept".strip()
        for policy in concerned
        for rule in policy["spec"].get(rules) or []
        for peers, targets in _peers(network, rule.get(ends), pod, direction, everybody)
        for ports in _ports(rule.get("ports"), targets)
    ]


def _peers(
    network: Network, described: list[Object] | None, pod: Pod, direction: str, everybody: list[End]
) -> Iterator[tuple[str, list[End]]]:
    """Each group of peers as a match, with those whose ports have the names that a rule says."""
    inwards = direction == "Ingress"
    address = "saddr" if inwards else "daddr"
    if not described:
        yield "", [pod] if inwards else []
    for description in described or []:
        if block := description.get("ipBlock"):
            yield _block(block, address), [pod] if inwards else []
            continue
        # By name a port is the callee's: one match for each of them.
        for peer in everybody:
            if network.is_described(description, peer, pod.namespace):
                yield f"ip {address} {peer.address}", [pod if inwards else peer]


def _block(block: Object, address: str) -> str:
    whole = ip_network(block["cidr"])
    family, words = ("ip", "ipv4") if whole.version == 4 else ("ip6", "ipv6")
    match = f"meta nfproto {words}" if whole.prefixlen == 0 else f"{family} {address} {whole}"
    excepted = ", ".join(block.get("except", []))
    return f"{match} {family} {address} != {{ {excepted} }}" if excepted else match


def _ports(described: list[Object] | None, targets: list[End]) -> Iterator[str]:
    if not described:
        yield ""
    for description in described or []:
        protocol = description.get("protocol", "TCP").lower()
        match description.get("port"):
            case None:
                yield f"meta l4proto {protocol}"
            case int(first):
                last = description.get("endPort", first)
                yield f"{protocol} dport {first if last == first else f'{first}-{last}'}"
            case name:
                for target in targets:
                    if isinstance(target, Pod) and name in target.ports:
                        number, own = target.ports[name]
                        if own.lower() == protocol:
                            yield f"{protocol} dport {number}"
