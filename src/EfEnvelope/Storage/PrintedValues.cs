using System.Collections;
using System.Data.Common;
using System.Runtime.CompilerServices;

namespace EfEnvelope.Storage;

/// <summary>
/// Parameters of encrypted columns in a command that EF makes but does not run (<c>ToQueryString()</c>, <c>CreateDbCommand()</c>): no key is awaited for it, so they hold something that no provider
/// accepts - run by hand, the command fails instead of finding nothing - and are printed as <c>&lt;encrypted&gt;</c>.
/// </summary>
internal static class PrintedValues
{
    private static readonly ConditionalWeakTable<object, object> Disabled = [];

    /// <summary>Puts it in the place of every parameter that holds a placeholder of the frame, by itself, in a list, or in a text.</summary>
    public static void Disable(DbCommand command, CommandFrame frame)
    {
        if (!frame.HasPending)
        {
            return;
        }

        foreach (DbParameter parameter in command.Parameters)
        {
            if (frame.Pending.FirstOrDefault(p => Holds(parameter.Value, p.Placeholder)) is { } pending)
            {
                parameter.Value = pending.Placeholder;
                Disabled.AddOrUpdate(pending.Placeholder, pending.Placeholder);
            }
        }
    }

    /// <summary>Makes such parameters printable.</summary>
    public static void Hide(DbCommand command)
    {
        foreach (DbParameter parameter in command.Parameters)
        {
            if (parameter.Value is { } value && Disabled.TryGetValue(value, out _))
            {
                parameter.Value = "<encrypted>";
            }
        }
    }

    private static bool Holds(object? value, byte[] placeholder) => value switch
    {
        string text => text.Contains(Convert.ToHexString(placeholder), StringComparison.OrdinalIgnoreCase),
        byte[] bytes => ReferenceEquals(bytes, placeholder),
        IEnumerable list => list.Cast<object?>().Any(element => Holds(element, placeholder)),
        _ => false,
    };
}
