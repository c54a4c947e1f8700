/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any JSON that a server may answer is shown as tables and graphs, and no byte
 * of it can steer the terminal that it is shown on.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/nesting.h"
#include "ctl/graph.h"
#include "ctl/progress.h"
#include "ctl/rest.h"
#include "ctl/view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void show(struct sonde_cli *cli, const json_t *json)
{
	_cleanup_(sonde_graph_freep) struct sonde_graph *graph = NULL;
	_cleanup_buf_ struct sonde_buf line = SONDE_BUF_INIT(4096), numbers = SONDE_BUF_INIT(4096);

	(void)sonde_view_timeline(cli, json);
	(void)sonde_view_targets(cli, json);
	(void)sonde_view_probes(cli, json);
	(void)sonde_view_absent(cli, json);
	(void)sonde_view_plan(cli, json, cli->width);
	(void)sonde_view_cost(cli, json_object_get(json, "cost"));
	(void)sonde_view_idle_proof(cli, json_object_get(json, "idle_proof"));
	(void)sonde_view_ledger(cli, json, json);
	(void)sonde_view_edges(cli, json);
	(void)sonde_view_verdicts(cli, json);
	if (sonde_graph_new(json, &graph) == 0) {
		(void)!sonde_graph_dot(graph, cli->out);
		(void)!sonde_graph_mermaid(graph, cli->out);
	}
	if (sonde_progress_line(json, 1767225600000, 24, &line) == 0)
		(void)fputs(sonde_buf_str(&line), cli->out);
	if (sonde_progress_numbers(json, json, json, 1767225600000, &numbers) == 0)
		(void)fputs(sonde_buf_str(&numbers), cli->out);
}

static void check(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)text[i] < 0x20 && text[i] != '\n')
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sonde_cli_settings settings = {.utc = true};
	struct sonde_cli cli = {.settings = &settings, .headers = true, .quiet = true};
	json_error_t error;
	char *text = NULL;
	json_t *json;
	size_t n;

	if (!sonde_json_shallow((const char *)data, size, SONDE_REST_DEPTH_MAX))
		return 0;
	json = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, &error);
	cli.out = open_memstream(&text, &n);
	if (json && cli.out) {
		cli.err = cli.out;
		settings.output = size % 2 ? SONDE_CLI_WIDE : SONDE_CLI_TABLE;
		cli.width = size % 3 ? 0 : 80;
		show(&cli, json);
		(void)fflush(cli.out);
		check(text, n);
	}
	if (cli.out)
		(void)fclose(cli.out);
	free(text);
	json_decref(json);
	return 0;
}
