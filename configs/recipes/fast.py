# What makes a training faster and leaves its result alone, as a fragment for `_base_`. Beside another
# recipe name both: tricks=bag_of_freebies,fast on the command line of tools/train.py, or a list.
runner_type = 'tricks_plugin.TricksRunner'
tricks = dict(
    from_recipe='fast',
    # 16-bit mixed precision (1812.01187 section 3.2): bfloat16, or float16 with loss scaling.
    amp=dict(),
    # The small options of the frameworks: cuDNN benchmarking where shapes are fixed, TF32,
    # channels-last where it helps, persistent workers, pinned memory. Each is named in the plan.
    runtime=dict(),
    # Images kept decoded in memory, one copy a node, where all of them fit; the bytes of files where
    # their source is slow. Held back elsewhere, with the numbers; tricks.data_cache=True applies it.
    data_cache=dict(),
    # A run whose loss is NaN or infinite stops, in place of ending as a success. Changes nothing else.
    finite_guard=dict(),
    # Says once where the run waits for its data, why, and what would help. Changes nothing else.
    data_monitor=dict(),
)
