/* SPDX-License-Identifier: Apache-2.0 */
#include "host/conntrack.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_GET (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET)
#define MESSAGE_NEW (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW)
#define STRAYS_MAX 8 /* answers to earlier requests that may lie in the socket */

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

static bool is_v4(const uint8_t addr[16])
{
	return memcmp(addr, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

/* --- the request --- */

struct writer {
	uint8_t *data;
	size_t len;
};

static void put(struct writer *w, const void *data, size_t n)
{
	assert(w->len + NLA_ALIGN(n) <= SONDE_CONNTRACK_REQUEST_MAX);
	memcpy(w->data + w->len, data, n);
	memset(w->data + w->len + n, 0, NLA_ALIGN(n) - n);
	w->len += NLA_ALIGN(n);
}

static void put_attribute(struct writer *w, uint16_t type, const void *data, size_t n)
{
	const struct nlattr head = {.nla_len = (uint16_t)(NLA_HDRLEN + n), .nla_type = type};

	put(w, &head, sizeof(head));
	put(w, data, n);
}

/* Returns where its length is to be filled in. */
static size_t begin_nest(struct writer *w, uint16_t type)
{
	const struct nlattr head = {.nla_type = type | NLA_F_NESTED};
	size_t at = w->len;

	put(w, &head, sizeof(head));
	return at;
}

static void end_nest(struct writer *w, size_t at)
{
	uint16_t len = (uint16_t)(w->len - at);

	memcpy(w->data + at + offsetof(struct nlattr, nla_len), &len, sizeof(len));
}

static void put_tuple(struct writer *w, const struct sonde_conntrack_tuple *t)
{
	const uint16_t from_port = htons(t->from_port), to_port = htons(t->to_port);
	size_t tuple, part;

	tuple = begin_nest(w, CTA_TUPLE_ORIG);
	part = begin_nest(w, CTA_TUPLE_IP);
	if (is_v4(t->from)) {
		put_attribute(w, CTA_IP_V4_SRC, t->from + 12, 4);
		put_attribute(w, CTA_IP_V4_DST, t->to + 12, 4);
	} else {
		put_attribute(w, CTA_IP_V6_SRC, t->from, 16);
		put_attribute(w, CTA_IP_V6_DST, t->to, 16);
	}
	end_nest(w, part);
	part = begin_nest(w, CTA_TUPLE_PROTO);
	put_attribute(w, CTA_PROTO_NUM, &t->protocol, 1);
	put_attribute(w, CTA_PROTO_SRC_PORT, &from_port, sizeof(from_port));
	put_attribute(w, CTA_PROTO_DST_PORT, &to_port, sizeof(to_port));
	end_nest(w, part);
	end_nest(w, tuple);
}

int sonde_conntrack_request(const struct sonde_conntrack_tuple *own, uint32_t sequence,
			    uint8_t buf[static SONDE_CONNTRACK_REQUEST_MAX])
{
	struct nlmsghdr head = {
		.nlmsg_type = MESSAGE_GET, .nlmsg_flags = NLM_F_REQUEST, .nlmsg_seq = sequence};
	const struct nfgenmsg general = {.nfgen_family = is_v4(own->from) ? AF_INET : AF_INET6,
					 .version = NFNETLINK_V0};
	struct writer w = {.data = buf};

	if (is_v4(own->from) != is_v4(own->to))
		return -EINVAL;
	put(&w, &head, sizeof(head));
	put(&w, &general, sizeof(general));
	put_tuple(&w, own);
	head.nlmsg_len = (uint32_t)w.len;
	memcpy(buf, &head, sizeof(head));
	return (int)w.len;
}

/* --- the answer --- */

struct attributes {
	const uint8_t *data;
	size_t n;
};

/* The next attribute of @a: its type and content. False: none is left, or what is left is none. */
static bool next_attribute(struct attributes *a, uint16_t *ret_type, struct attributes *ret)
{
	struct nlattr head;
	size_t step;

	if (a->n < sizeof(head))
		return false;
	memcpy(&head, a->data, sizeof(head));
	if (head.nla_len < sizeof(head) || head.nla_len > a->n)
		return false;
	*ret_type = head.nla_type & NLA_TYPE_MASK;
	*ret = (struct attributes){a->data + sizeof(head), head.nla_len - sizeof(head)};
	step = NLA_ALIGN(head.nla_len);
	if (step > a->n)
		step = a->n;
	a->data += step;
	a->n -= step;
	return true;
}

static bool read_address(struct attributes a, uint8_t ret[16])
{
	if (a.n == 4) {
		memcpy(ret, mapped_prefix, sizeof(mapped_prefix));
		memcpy(ret + 12, a.data, 4);
		return true;
	}
	if (a.n != 16)
		return false;
	memcpy(ret, a.data, 16);
	return true;
}

static bool read_port(struct attributes a, uint16_t *ret)
{
	uint16_t port;

	if (a.n != sizeof(port))
		return false;
	memcpy(&port, a.data, sizeof(port));
	*ret = ntohs(port);
	return true;
}

enum {
	HAS_FROM = 1,
	HAS_TO = 2,
	HAS_PROTOCOL = 4,
	HAS_FROM_PORT = 8,
	HAS_TO_PORT = 16,
	HAS_ALL = 31,
};

static unsigned int read_ip(struct attributes ip, struct sonde_conntrack_tuple *t)
{
	unsigned int has = 0;
	struct attributes a;
	uint16_t type;

	while (next_attribute(&ip, &type, &a)) {
		if (type == CTA_IP_V4_SRC || type == CTA_IP_V6_SRC)
			has |= read_address(a, t->from) ? HAS_FROM : 0;
		else if (type == CTA_IP_V4_DST || type == CTA_IP_V6_DST)
			has |= read_address(a, t->to) ? HAS_TO : 0;
	}
	return has;
}

static unsigned int read_proto(struct attributes proto, struct sonde_conntrack_tuple *t)
{
	unsigned int has = 0;
	struct attributes a;
	uint16_t type;

	while (next_attribute(&proto, &type, &a)) {
		if (type == CTA_PROTO_NUM && a.n == 1) {
			t->protocol = a.data[0];
			has |= HAS_PROTOCOL;
		} else if (type == CTA_PROTO_SRC_PORT) {
			has |= read_port(a, &t->from_port) ? HAS_FROM_PORT : 0;
		} else if (type == CTA_PROTO_DST_PORT) {
			has |= read_port(a, &t->to_port) ? HAS_TO_PORT : 0;
		}
	}
	return has;
}

static bool read_tuple(struct attributes tuple, struct sonde_conntrack_tuple *t)
{
	unsigned int has = 0;
	struct attributes a;
	uint16_t type;

	while (next_attribute(&tuple, &type, &a)) {
		if (type == CTA_TUPLE_IP)
			has |= read_ip(a, t);
		else if (type == CTA_TUPLE_PROTO)
			has |= read_proto(a, t);
	}
	return has == HAS_ALL;
}

static bool same(const struct sonde_conntrack_tuple *a, const struct sonde_conntrack_tuple *b)
{
	return a->protocol == b->protocol && a->from_port == b->from_port &&
	       a->to_port == b->to_port && memcmp(a->from, b->from, 16) == 0 &&
	       memcmp(a->to, b->to, 16) == 0;
}

static int read_connection(const struct sonde_conntrack_tuple *own, struct attributes message,
			   uint8_t ret_addr[16], uint16_t *ret_port)
{
	struct sonde_conntrack_tuple original = {0}, reply = {0};
	const struct sonde_conntrack_tuple *far = NULL;
	bool has_original = false, has_reply = false;
	struct attributes a;
	uint16_t type;

	while (next_attribute(&message, &type, &a)) {
		if (type == CTA_TUPLE_ORIG)
			has_original = read_tuple(a, &original);
		else if (type == CTA_TUPLE_REPLY)
			has_reply = read_tuple(a, &reply);
	}
	if (!has_original || !has_reply)
		return -EBADMSG;
	/* What comes to us is the other direction's: its source is the far end. */
	if (same(own, &original))
		far = &reply;
	else if (same(own, &reply))
		far = &original;
	if (!far)
		return -EBADMSG;
	memcpy(ret_addr, far->from, 16);
	*ret_port = far->from_port;
	return 0;
}

static int read_error(const uint8_t *data, size_t n)
{
	int32_t error;

	if (n < sizeof(error))
		return -EBADMSG;
	memcpy(&error, data, sizeof(error));
	if (error >= 0 || error < -4095)
		return -EBADMSG;
	return error == -EINVAL ? -EOPNOTSUPP : error; /* nfnetlink knows no such subsystem */
}

int sonde_conntrack_answer(const struct sonde_conntrack_tuple *own, uint32_t sequence,
			   const uint8_t *data, size_t n, uint8_t ret_addr[16], uint16_t *ret_port)
{
	struct nlmsghdr head;

	if (n < sizeof(head))
		return -EBADMSG;
	memcpy(&head, data, sizeof(head));
	if (head.nlmsg_len < sizeof(head) || head.nlmsg_len > n)
		return -EBADMSG;
	if (head.nlmsg_seq != sequence)
		return -EAGAIN;
	data += sizeof(head);
	n = head.nlmsg_len - sizeof(head);
	if (head.nlmsg_type == NLMSG_ERROR)
		return read_error(data, n);
	if (head.nlmsg_type != MESSAGE_NEW || n < sizeof(struct nfgenmsg))
		return -EBADMSG;
	return read_connection(
		own,
		(struct attributes){data + sizeof(struct nfgenmsg), n - sizeof(struct nfgenmsg)},
		ret_addr, ret_port);
}

/* The kernel answers within the sendto(2): there is nothing to wait for. */
int sonde_conntrack_far_end(int fd, const struct sonde_conntrack_tuple *own, uint8_t ret_addr[16],
			    uint16_t *ret_port)
{
	static uint32_t sequence;
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	uint8_t request[SONDE_CONNTRACK_REQUEST_MAX], answer[SONDE_CONNTRACK_ANSWER_MAX];
	int n, r;

	assert(own && ret_addr && ret_port);

	n = sonde_conntrack_request(own, ++sequence, request);
	if (n < 0)
		return n;
	if (sendto(fd, request, (size_t)n, 0, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	for (int i = 0; i < STRAYS_MAX; i++) {
		struct sockaddr_nl from = {0};
		socklen_t len = sizeof(from);
		ssize_t got = recvfrom(fd, answer, sizeof(answer), MSG_TRUNC,
				       (struct sockaddr *)&from, &len);

		if (got < 0)
			return errno == EAGAIN ? -EBADMSG : -errno;
		if (from.nl_pid != 0 || (size_t)got > sizeof(answer)) /* not the kernel's, or cut */
			continue;
		r = sonde_conntrack_answer(own, sequence, answer, (size_t)got, ret_addr, ret_port);
		if (r != -EAGAIN)
			return r;
	}
	return -EBADMSG;
}
