/* SPDX-License-Identifier: Apache-2.0 */
/* sonde audit: who changed what on the server, and who was refused */
#include <inttypes.h>

#include "base/clock.h"
#include "base/num.h"
#include "ctl/fetch.h"
#include "ctl/units.h"
#include "ctl/view.h"

#define AUDIT_PATH_MAX 4096

/* Of --@flag: RFC 3339, milliseconds since 1970, or "2h", which is so long ago. Return: 0 or an exit status (told). */
static int read_time(struct sonde_cli *cli, const char *flag, const char *text, int64_t *ret_ms)
{
	const int64_t now_ms = sonde_wall_ms();
	uint64_t n;

	if (sonde_parse_u64(text, 1, INT64_MAX, &n) == 0)
		*ret_ms = (int64_t)n;
	else if (sonde_parse_duration_ns(text, &n) == 0 && n / SONDE_NS_PER_MS <= (uint64_t)now_ms)
		*ret_ms = now_ms - (int64_t)(n / SONDE_NS_PER_MS);
	else if (sonde_time_parse(text, ret_ms) < 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--%s: '%.64s' is no time: RFC 3339, milliseconds since "
				      "1970, or 2h, which is so long ago",
				      flag, text);
	return 0;
}

static int audit_path(struct sonde_cli *cli, struct sonde_buf *path)
{
	static const char *const times[] = {"since", "until"}, *const pages[] = {"limit", "cursor"};
	int r = sonde_buf_printf(path, "/api/v1/audit");

	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(times); i++) {
		const char *text = sonde_cli_flag(cli, times[i]);
		int64_t at_ms = 0;
		char ms[24];
		int status = text ? read_time(cli, times[i], text, &at_ms) : 0;

		if (status != 0)
			return status;
		(void)snprintf(ms, sizeof(ms), "%" PRId64, at_ms);
		r = sonde_cli_add_parameter(path, times[i], text ? ms : NULL);
	}
	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(pages); i++)
		r = sonde_cli_add_parameter(path, pages[i], sonde_cli_flag(cli, pages[i]));
	return r < 0 ? sonde_cli_broken(cli, r) : 0;
}

static void entry_cells(const struct sonde_cli *cli, struct sonde_table *t, const json_t *row)
{
	sonde_cell_time(t, cli, row, "at");
	sonde_cell_text(t, row, "who");
	sonde_cell_text(t, row, "role");
	sonde_cell_text(t, row, "address");
	sonde_cell_text(t, row, "action");
	sonde_cell_text(t, row, "subject");
	sonde_cell_number(t, row, "status");
	sonde_cell_text(t, row, "words");
}

static int print_entries(struct sonde_cli *cli, const json_t *answer)
{
	static const struct sonde_column columns[] = {
		{"AT", false, false},	   {"WHO", false, true},    {"ROLE", false, false},
		{"ADDRESS", .wide = true}, {"ACTION", false, true}, {"SUBJECT", false, true},
		{"STATUS", true, false},   {"WORDS", false, true},  {NULL}};
	const json_t *entries = json_object_get(answer, "entries");
	int status;

	if (json_array_size(entries) == 0)
		sonde_cli_note(cli, "nothing was changed, and nobody refused");
	status = sonde_view_rows(cli, columns, entries, entry_cells);
	if (status == 0)
		sonde_view_next(cli, answer);
	return status;
}

int sonde_cli_audit(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(AUDIT_PATH_MAX);
	int status = audit_path(cli, &path);

	if (status == 0)
		status = sonde_cli_request(cli, sonde_buf_str(&path), NULL, &answer);
	if (status != 0)
		return status;
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_json(cli, &answer);
	return print_entries(cli, answer.json);
}
