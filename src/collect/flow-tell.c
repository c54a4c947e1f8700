/* SPDX-License-Identifier: Apache-2.0 */
#include "collect/flow-tell.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "model/flow-rest.h"

void sonde_flow_tell_done(struct sonde_flow_tell *t)
{
	if (!t)
		return;
	free(t->rests);
	t->rests = NULL;
	t->n_rests = 0;
}

static int flush(struct sonde_flow_tell *t)
{
	int r = t->reply.flow.n ? t->sink.emit(t->sink.ctx, &t->reply) : 0;

	t->reply = (struct sonde_probe_reply){.type = SONDE_PROBE_FLOW};
	return r;
}

int sonde_flow_tell_one(struct sonde_flow_tell *t, const struct sonde_flow *flow)
{
	assert(t && flow);

	t->reply.flow.flow[t->reply.flow.n++] = *flow;
	return t->reply.flow.n == SONDE_PROBE_FLOW_CHUNK ? flush(t) : 0;
}

static int find_rest(struct sonde_flow_tell *t, const struct sonde_flow_rest_key *key,
		     struct sonde_flow_rest **ret)
{
	struct sonde_probe_flow_rest *grown;

	for (size_t i = 0; i < t->n_rests; i++) {
		if (memcmp(&t->rests[i].key, key, sizeof(*key)) != 0)
			continue;
		*ret = &t->rests[i].rest;
		return 0;
	}
	grown = reallocarray(t->rests, t->n_rests + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	t->rests = grown;
	grown[t->n_rests] = (struct sonde_probe_flow_rest){.key = *key};
	*ret = &grown[t->n_rests++].rest;
	return 0;
}

int sonde_flow_tell_sum(struct sonde_flow_tell *t, const struct sonde_flow_rest_key *key,
			const struct sonde_flow_rest *rest)
{
	struct sonde_flow_rest *to = NULL;
	int r;

	assert(t && key && rest);

	r = find_rest(t, key, &to);
	if (r < 0)
		return r;
	sonde_flow_rest_add(to, rest);
	return 0;
}

static int sum_open(struct sonde_flow_tell *t, const struct sonde_flow *f)
{
	const struct sonde_flow_rest_key key = {
		.pid = f->pid, .protocol = f->protocol, .role = f->role, .open = 1};
	const struct sonde_flow_rest one = sonde_flow_rest_of(f);

	return sonde_flow_tell_sum(t, &key, &one);
}

struct flows {
	const struct sonde_flow *(*at)(const void *ctx, uint32_t i);
	const void *ctx;
};

static uint64_t bytes_of(const struct flows *f, uint32_t i)
{
	const struct sonde_flow *flow = f->at(f->ctx, i);

	return flow->sent_bytes + flow->received_bytes;
}

/* Brings the @k largest of @order's @n to its front, in no order. */
static void select_largest(const struct flows *f, uint32_t *order, size_t n, size_t k)
{
	size_t low = 0, high = n;

	while (high - low > 1 && k > low && k < high) {
		uint64_t pivot = bytes_of(f, order[low + (high - low) / 2]);
		size_t i = low, j = high - 1;

		for (;;) {
			uint32_t held;

			while (bytes_of(f, order[i]) > pivot)
				i++;
			while (bytes_of(f, order[j]) < pivot)
				j--;
			if (i >= j)
				break;
			held = order[i];
			order[i++] = order[j];
			order[j--] = held;
		}
		/* [low, i) is at least the pivot, [i, high) at most. */
		if (i == low)
			i++;
		if (k <= i && i < high)
			high = i;
		else
			low = i;
	}
}

int sonde_flow_tell_open(struct sonde_flow_tell *t,
			 const struct sonde_flow *(*at)(const void *ctx, uint32_t i),
			 const void *ctx, uint32_t *order, size_t n)
{
	const struct flows flows = {at, ctx};
	size_t told = n < t->sink.open_flows ? n : t->sink.open_flows;
	int r = 0;

	select_largest(&flows, order, n, told);
	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct sonde_flow *f = at(ctx, order[i]);

		r = i < told ? sonde_flow_tell_one(t, f) : sum_open(t, f);
	}
	return r;
}

int sonde_flow_tell_end(struct sonde_flow_tell *t)
{
	int r;

	assert(t);

	r = flush(t);
	for (size_t i = 0; r == 0 && i < t->n_rests; i++) {
		struct sonde_probe_reply reply = {.type = SONDE_PROBE_FLOW_REST,
						  .flow_rest = t->rests[i]};

		r = t->sink.emit(t->sink.ctx, &reply);
	}
	return r;
}
