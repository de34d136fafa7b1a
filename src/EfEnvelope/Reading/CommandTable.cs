using System.Data.Common;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace EfEnvelope.Reading;

/// <summary>
/// What belongs to the commands of one context. Nearly every context has one command at a time, which is held here; only others meanwhile need the runtime's weak table, whose making and finalizing every short-lived context
/// would pay for. The held one stays until it is removed or replaced: a command that never came to its end costs the context no more than itself. Not thread safe, like the context.
/// </summary>
internal sealed class CommandTable<T>
    where T : class
{
    private ConditionalWeakTable<DbCommand, T>? _others;
    private DbCommand? _command;
    private T? _value;

    public void Set(DbCommand command, T value)
    {
        if (_command is null || ReferenceEquals(_command, command))
        {
            (_command, _value) = (command, value);
            _others?.Remove(command);
        }
        else
        {
            (_others ??= []).AddOrUpdate(command, value);
        }
    }

    public bool TryGet(DbCommand command, [MaybeNullWhen(false)] out T value)
    {
        if (ReferenceEquals(_command, command))
        {
            value = _value!;
            return true;
        }

        value = null;
        return _others is not null && _others.TryGetValue(command, out value);
    }

    public void Remove(DbCommand command)
    {
        if (ReferenceEquals(_command, command))
        {
            (_command, _value) = (null, null);
        }
        else
        {
            _others?.Remove(command);
        }
    }
}
