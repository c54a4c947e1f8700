/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <string.h>

#include "host/conntrack.h"

#define V4(a, b, c, d)                                                                             \
	{                                                                                          \
		[10] = 0xff, [11] = 0xff, [12] = (a), [13] = (b), [14] = (c), [15] = (d)           \
	}

/* A client of a Service at 10.96.0.1:80 that 10.1.0.9:8080 serves, seen by the client. */
static const struct sonde_conntrack_tuple asked = {
	.from = V4(10, 1, 0, 5),
	.to = V4(10, 96, 0, 1),
	.from_port = 40000,
	.to_port = 80,
	.protocol = IPPROTO_TCP,
};
static const struct sonde_conntrack_tuple replies = {
	.from = V4(10, 1, 0, 9),
	.to = V4(10, 1, 0, 5),
	.from_port = 8080,
	.to_port = 40000,
	.protocol = IPPROTO_TCP,
};

/*
 * An answer of the kernel's out of two of our requests, which are one tuple behind the same heads; the second
 * tuple is made CTA_TUPLE_REPLY.
 */
static size_t make_answer(const struct sonde_conntrack_tuple *original,
			  const struct sonde_conntrack_tuple *reply, uint32_t sequence,
			  uint8_t *buf)
{
	const size_t head = sizeof(struct nlmsghdr) + sizeof(struct nfgenmsg);
	uint8_t second[SONDE_CONNTRACK_REQUEST_MAX];
	struct nlmsghdr nl;
	struct nlattr tuple;
	int n, m;

	n = sonde_conntrack_request(original, sequence, buf);
	m = sonde_conntrack_request(reply, sequence, second);
	assert_true(n > 0 && m > 0);
	memcpy(&tuple, second + head, sizeof(tuple));
	tuple.nla_type = CTA_TUPLE_REPLY | NLA_F_NESTED;
	memcpy(second + head, &tuple, sizeof(tuple));
	memcpy(buf + n, second + head, (size_t)m - head);
	memcpy(&nl, buf, sizeof(nl));
	nl.nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW;
	nl.nlmsg_len = (uint32_t)n + (uint32_t)(m - (int)head);
	memcpy(buf, &nl, sizeof(nl));
	return nl.nlmsg_len;
}

static void either_side_finds_the_other(void **state)
{
	struct sonde_conntrack_tuple back = {.protocol = IPPROTO_TCP};
	uint8_t buf[2 * SONDE_CONNTRACK_REQUEST_MAX], addr[16];
	uint16_t port = 0;
	size_t n;

	n = make_answer(&asked, &replies, 7, buf);
	assert_ok(sonde_conntrack_answer(&asked, 7, buf, n, addr, &port));
	assert_memory_equal(addr, replies.from, 16);
	assert_int_equal(port, 8080);
	/* The server's own view is the direction of the replies: its far end is the client. */
	assert_ok(sonde_conntrack_answer(&replies, 7, buf, n, addr, &port));
	assert_memory_equal(addr, asked.from, 16);
	assert_int_equal(port, 40000);
	/* What is neither direction's is no answer to us. */
	memcpy(back.from, asked.to, 16);
	memcpy(back.to, asked.from, 16);
	back.from_port = asked.to_port;
	back.to_port = asked.from_port;
	assert_err(sonde_conntrack_answer(&back, 7, buf, n, addr, &port), EBADMSG);
}

static void ipv6_and_mixed_families(void **state)
{
	struct sonde_conntrack_tuple six = {.from = {0xfd, [15] = 1},
					    .to = {0xfd, [15] = 2},
					    .from_port = 1,
					    .to_port = 2,
					    .protocol = IPPROTO_UDP};
	struct sonde_conntrack_tuple back = {.from = {0xfd, [15] = 3},
					     .to = {0xfd, [15] = 1},
					     .from_port = 3,
					     .to_port = 1,
					     .protocol = IPPROTO_UDP};
	uint8_t buf[2 * SONDE_CONNTRACK_REQUEST_MAX], addr[16];
	uint16_t port;
	size_t n;

	n = make_answer(&six, &back, 1, buf);
	assert_ok(sonde_conntrack_answer(&six, 1, buf, n, addr, &port));
	assert_memory_equal(addr, back.from, 16);
	assert_int_equal(port, 3);
	memcpy(six.to, asked.to, 16);
	assert_err(sonde_conntrack_request(&six, 1, buf), EINVAL);
}

static void the_kernels_refusals_are_told_apart(void **state)
{
	struct {
		struct nlmsghdr head;
		int32_t error;
	} refusal = {
		.head = {.nlmsg_len = sizeof(refusal), .nlmsg_type = NLMSG_ERROR, .nlmsg_seq = 3}};
	const int32_t errors[][2] = {{-ENOENT, ENOENT}, {-EPERM, EPERM}, {-EINVAL, EOPNOTSUPP},
				     {0, EBADMSG},	{1, EBADMSG},	 {INT32_MIN, EBADMSG}};
	uint8_t addr[16];
	uint16_t port;

	for (size_t i = 0; i < ELEMENTS_OF(errors); i++) {
		refusal.error = errors[i][0];
		assert_err(sonde_conntrack_answer(&asked, 3, (uint8_t *)&refusal, sizeof(refusal),
						  addr, &port),
			   errors[i][1]);
	}
	assert_err(sonde_conntrack_answer(&asked, 4, (uint8_t *)&refusal, sizeof(refusal), addr,
					  &port),
		   EAGAIN);
	assert_err(sonde_conntrack_answer(&asked, 3, (uint8_t *)&refusal, sizeof(refusal.head),
					  addr, &port),
		   EBADMSG);
}

/* Each byte cut off, and each byte another: refused or read within bounds (under ASan). */
static void what_is_cut_or_broken_is_refused(void **state)
{
	uint8_t buf[2 * SONDE_CONNTRACK_REQUEST_MAX], addr[16];
	uint16_t port;
	size_t n;

	n = make_answer(&asked, &replies, 7, buf);
	for (size_t cut = 0; cut < n; cut++) {
		uint8_t *copy = malloc(cut + 1);

		assert_non_null(copy);
		memcpy(copy, buf, cut);
		assert_err(sonde_conntrack_answer(&asked, 7, copy, cut, addr, &port), EBADMSG);
		free(copy);
	}
	for (size_t at = 0; at < n; at++) {
		uint8_t broken[sizeof(buf)];

		memcpy(broken, buf, n);
		broken[at] ^= 0xff;
		(void)!sonde_conntrack_answer(&asked, 7, broken, n, addr, &port);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(either_side_finds_the_other),
		cmocka_unit_test(ipv6_and_mixed_families),
		cmocka_unit_test(the_kernels_refusals_are_told_apart),
		cmocka_unit_test(what_is_cut_or_broken_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
