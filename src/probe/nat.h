/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * NAT: fills in who is really at the other end of flows whose address is
 * translated. Asks conntrack at most once a flow that it can tell of, and for
 * destinations of which it says that they are not translated once in a while
 * instead of for each flow. Bounded in memory and
 * in questions a snapshot; a flow that is not asked about has no backend. One thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "bpf/lib/flow_types.h"

#define SONDE_NAT_QUESTIONS_MAX 4096 /* a snapshot */

struct sonde_nat;

/* @fd: a NETLINK_NETFILTER socket, borrowed; -1: nothing is ever translated. Return: 0, -ENOMEM. */
int sonde_nat_new(int fd, struct sonde_nat **ret) _must_check_;
struct sonde_nat *sonde_nat_free(struct sonde_nat *n);
SONDE_DEFINE_CLEANUP(struct sonde_nat *, sonde_nat_free)

/* Asks for a connection that is none, with CAP_NET_ADMIN in effect. Return: 0, or why nothing can be asked: -EPERM, -EOPNOTSUPP, … */
int sonde_nat_probe(struct sonde_nat *n) _must_check_;

/* A snapshot begins. */
void sonde_nat_begin(struct sonde_nat *n, uint64_t now_ns);

/* Sets @flow's backend from what is known. True: conntrack has to be asked for it. */
bool sonde_nat_look_up(struct sonde_nat *n, struct sonde_flow *flow);
/* Asks, and sets @flow's backend where it is another than its remote address. With CAP_NET_ADMIN in effect. */
void sonde_nat_ask(struct sonde_nat *n, struct sonde_flow *flow);
