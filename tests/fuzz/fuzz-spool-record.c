/* SPDX-License-Identifier: Apache-2.0 */
/* A record of the spool that no agent wrote. One that is taken apart comes out the same when it is put together anew. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "export/spool-record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct sonde_report *r, const struct sonde_spool_meta *meta)
{
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(SONDE_SPOOL_PLAIN_MAX);
	_cleanup_(sonde_report_freep) struct sonde_report *copy = NULL;
	struct sonde_spool_meta same;

	if (sonde_spool_record_encode(r, meta, &out) < 0)
		return;
	if (sonde_spool_record_decode(out.data, out.len, &same, &copy) < 0)
		abort();
	if (strcmp(same.id, meta->id) != 0 || same.flags != meta->flags ||
	    copy->n_messages != r->n_messages || copy->task_report.len != r->task_report.len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(sonde_report_freep) struct sonde_report *r = NULL;
	struct sonde_spool_meta meta;

	if (size > 0)
		(void)!sonde_spool_record_meta(data, size, &meta);
	if (size > 0 && sonde_spool_record_decode(data, size, &meta, &r) == 0)
		again(r, &meta);
	return 0;
}
