"""All that knows mmengine: reading and editing configs, the runner, the evidence hook."""
