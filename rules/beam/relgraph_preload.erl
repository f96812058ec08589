% Loads what nearly every request needs, each from where it is known to lie.
%
% Left to itself the VM loads a module when it is first called, and looks for it in one folder of the code path after the
% other: ten thousand looks per VM, each of which wakes a thread. The list is fixed, so that all VMs begin alike; names
% that this OTP or Elixir does not have are passed over.
-module(relgraph_preload).

-export([run/0]).

% Loads what is there of the list and not loaded yet.
-spec run() -> ok.
run() ->
    Known = [
        {Module, File, Binary}
     || {App, Modules} <- modules(),
        Folder <- [code:lib_dir(App)],
        is_list(Folder),
        Module <- Modules,
        not erlang:module_loaded(Module),
        File <- [filename:join([Folder, "ebin", atom_to_list(Module) ++ ".beam"])],
        {ok, Binary, _} <- [erl_prim_loader:get_file(File)]
    ],
    % What cannot be loaded so is loaded when it is called.
    case code:prepare_loading(own() ++ Known) of
        {ok, Prepared} -> code:finish_loading(Prepared);
        _ -> ok
    end,
    ok.

% The driver itself: since Elixir 1.15 Mix takes everything off the code path that the project does not name.
own() ->
    Folder = filename:dirname(code:which(?MODULE)),
    {ok, Names} = erl_prim_loader:list_dir(Folder),
    [
        {Module, File, Binary}
     || Name <- lists:sort(Names),
        filename:extension(Name) =:= ".beam",
        Module <- [list_to_atom(filename:rootname(Name))],
        not erlang:module_loaded(Module),
        File <- [filename:join(Folder, Name)],
        {ok, Binary, _} <- [erl_prim_loader:get_file(File)]
    ].

modules() ->
    [
        {kernel, [
            raw_file_io
        ]},
        {stdlib, [
            c, digraph, digraph_utils, epp, erl_bits, erl_expand_records, eval_bits, filelib, io, io_lib_format,
            io_lib_pretty, re, sets, sofs, string, unicode_util
        ]},
        {compiler, [
            beam_a, beam_asm, beam_block, beam_bounds, beam_call_types, beam_clean, beam_dict, beam_digraph,
            beam_flatten, beam_jump, beam_kernel_to_ssa, beam_opcodes, beam_ssa, beam_ssa_bc_size, beam_ssa_bool,
            beam_ssa_bsm, beam_ssa_codegen, beam_ssa_dead, beam_ssa_opt, beam_ssa_pre_codegen, beam_ssa_recv,
            beam_ssa_share, beam_ssa_throw, beam_ssa_type, beam_trim, beam_types, beam_utils, beam_validator, beam_z,
            cerl, cerl_clauses, cerl_trees, compile, core_lib, core_lint, erl_bifs, sys_core_alias, sys_core_bsm,
            sys_core_fold, sys_core_inline, v3_core, v3_kernel
        ]},
        {elixir, [
            'Elixir.Access', 'Elixir.Agent', 'Elixir.Agent.Server', 'Elixir.Application', 'Elixir.Bitwise',
            'Elixir.Code', 'Elixir.Code.Formatter', 'Elixir.Code.Identifier', 'Elixir.Code.Normalizer',
            'Elixir.Config.Provider', 'Elixir.Enum', 'Elixir.Enumerable', 'Elixir.File', 'Elixir.File.Error',
            'Elixir.GenServer', 'Elixir.IO', 'Elixir.IO.ANSI', 'Elixir.Inspect', 'Elixir.Inspect.Algebra',
            'Elixir.Inspect.Opts', 'Elixir.Kernel', 'Elixir.Kernel.CLI', 'Elixir.Kernel.ErrorHandler',
            'Elixir.Kernel.LexicalTracker', 'Elixir.Kernel.ParallelCompiler', 'Elixir.Kernel.Typespec',
            'Elixir.Kernel.Utils', 'Elixir.Keyword', 'Elixir.List', 'Elixir.List.Chars', 'Elixir.Macro',
            'Elixir.Macro.Env', 'Elixir.Map', 'Elixir.MapSet', 'Elixir.Module', 'Elixir.Module.LocalsTracker',
            'Elixir.Module.ParallelChecker', 'Elixir.Module.Types', 'Elixir.Module.Types.Expr',
            'Elixir.Module.Types.Helpers', 'Elixir.Module.Types.Of', 'Elixir.Module.Types.Pattern',
            'Elixir.Module.Types.Unify', 'Elixir.OptionParser', 'Elixir.Path', 'Elixir.Path.Wildcard',
            'Elixir.Process', 'Elixir.Protocol', 'Elixir.Range', 'Elixir.Regex', 'Elixir.Stream', 'Elixir.String',
            'Elixir.String.Chars', 'Elixir.String.Tokenizer', 'Elixir.Supervisor', 'Elixir.Supervisor.Default',
            'Elixir.System', 'Elixir.Task', 'Elixir.Task.Supervised', 'Elixir.Version', 'Elixir.Version.Parser',
            elixir, elixir_aliases, elixir_bitstring, elixir_bootstrap, elixir_clauses, elixir_code_server,
            elixir_compiler, elixir_config, elixir_def, elixir_dispatch, elixir_env, elixir_erl, elixir_erl_clauses,
            elixir_erl_compiler, elixir_erl_for, elixir_erl_pass, elixir_erl_try, elixir_erl_var, elixir_errors,
            elixir_expand, elixir_fn, elixir_import, elixir_interpolation, elixir_lexical, elixir_locals, elixir_map,
            elixir_module, elixir_overridable, elixir_parser, elixir_quote, elixir_rewrite, elixir_sup,
            elixir_tokenizer, elixir_utils
        ]},
        {mix, [
            'Elixir.Mix', 'Elixir.Mix.Compilers.ApplicationTracer', 'Elixir.Mix.Compilers.Elixir',
            'Elixir.Mix.Compilers.Erlang', 'Elixir.Mix.Dep', 'Elixir.Mix.Dep.Converger', 'Elixir.Mix.Dep.ElixirSCM',
            'Elixir.Mix.Dep.Loader', 'Elixir.Mix.Dep.Lock', 'Elixir.Mix.Dep.Umbrella', 'Elixir.Mix.Project',
            'Elixir.Mix.ProjectStack', 'Elixir.Mix.RemoteConverger', 'Elixir.Mix.Shell', 'Elixir.Mix.Shell.IO',
            'Elixir.Mix.State', 'Elixir.Mix.Task', 'Elixir.Mix.Task.Compiler', 'Elixir.Mix.Tasks.Compile',
            'Elixir.Mix.Tasks.Compile.All', 'Elixir.Mix.Tasks.Compile.App', 'Elixir.Mix.Tasks.Compile.Elixir',
            'Elixir.Mix.Tasks.Compile.Erlang', 'Elixir.Mix.Tasks.Compile.Leex', 'Elixir.Mix.Tasks.Compile.Yecc',
            'Elixir.Mix.Tasks.Loadconfig', 'Elixir.Mix.Tasks.Loadpaths', 'Elixir.Mix.TasksServer', 'Elixir.Mix.Utils'
        ]}
    ].
