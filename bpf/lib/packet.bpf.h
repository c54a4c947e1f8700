/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* What a packet's own headers say of it. */

struct packet {
	__u8 laddr[16]; /* as the receiver sees it */
	__u8 raddr[16];
	__u16 source;
	__u16 dest;
};

static __always_inline void read_ports(const struct sk_buff *skb, struct packet *packet)
{
	__be16 ports[2] = {};

	if (skb->transport_header == (__u16)~0U ||
	    bpf_probe_read_kernel(ports, sizeof(ports), skb->head + skb->transport_header))
		return;
	packet->source = bpf_ntohs(ports[0]);
	packet->dest = bpf_ntohs(ports[1]);
}

static __always_inline bool read_packet_addresses(const struct sk_buff *skb, struct packet *packet)
{
	const unsigned char *ip = skb->head + skb->network_header;
	__u8 version;

	if (bpf_probe_read_kernel(&version, sizeof(version), ip))
		return false;
	if (version >> 4 == 6) /* the source stands at 8, the destination at 24 */
		return !bpf_probe_read_kernel(packet->raddr, 16, ip + 8) &&
		       !bpf_probe_read_kernel(packet->laddr, 16, ip + 24);
	if (version >> 4 == 4) {
		__be32 addr[2];

		if (bpf_probe_read_kernel(addr, sizeof(addr), ip + 12))
			return false;
		map_v4(packet->raddr, addr[0]);
		map_v4(packet->laddr, addr[1]);
		return true;
	}
	return false;
}

static __always_inline __u32 segments_of(const struct sk_buff *skb)
{
	const struct skb_shared_info *info = (void *)(skb->head + skb->end);
	__u32 segments = BPF_CORE_READ(info, gso_segs);

	return segments ?: 1;
}
